"""Losses for links over several levels: of all levels at once, or one by one with a pyramid."""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses.base import (
    Feature,
    FeatureLoss,
    Form,
    LevelLoss,
    Levels,
    Scalar,
    chosen,
    comparable,
    full_precision,
    in_memory_order,
    whole,
)

Pool = Literal["max", "average"]
Entries = Literal["sum", "mean"]
_POOLS: tuple[Pool, ...] = get_args(Pool)
_ENTRIES: tuple[Entries, ...] = get_args(Entries)


@full_precision
def fsp(
    student: Levels, teacher: Levels, *, pool: Pool = "max", entries: Entries = "sum"
) -> Float[Tensor, ""]:
    """Squared difference of the flow matrices between successive levels (FSP).

    With `F_k` (C_k, H W) the features of one image at level k, its flow matrix to the next level
    is `G_k = F_k F_{k+1}^T / (H W)`, (C_k, C_{k+1}). The loss is the sum over k and the mean over
    the images of `||G_k(student) - G_k(teacher)||_F^2`. Where two successive levels of a side
    have different grids, the finer one is pooled. The two sides may have different grids: the
    matrices have none.

    Args:
        student: Maps (B, C_k, H_k, W_k), the shallowest first, two at least.
        teacher: As many, of the same widths level by level.
        pool: How a finer grid is pooled: `max` as its authors do, or `average`.
        entries: `sum` over the entries of a matrix is the squared Frobenius norm of the paper;
            `mean` over them, found in later implementations, keeps the scale for any width.

    Source: Yim, Joo, Bae and Kim, "A Gift from Knowledge Distillation: Fast Optimization, Network
    Minimization and Transfer Learning", CVPR 2017, where all pairs of levels weigh the same, and
    the loss trains the student alone in a stage of its own.

    >>> ones = torch.ones(1, 2, 2, 2)
    >>> fsp([ones, ones], [ones, 3 * ones])
    tensor(16.)
    """
    chosen("fsp", "pool", pool, _POOLS)
    chosen("fsp", "entries", entries, _ENTRIES)
    levels = _comparable_levels(student, teacher)
    terms = []
    for (first, other_first), (second, other_second) in pairwise(levels):
        flow = _flow(other_first, other_second, pool)
        # The matrices hold B C_k C_{k+1} numbers, and are what costs: one product less the other,
        # without a third in between. (The norm of a difference would need (HW, HW) matrices only,
        # but then is a small difference of large numbers.)
        a, b = _on_one_grid(first, second, pool)
        difference = torch.baddbmm(flow, a, b.mT, beta=-1, alpha=1 / a.shape[2])
        terms.append(difference.square().sum() / _count(difference, entries))
    return torch.stack(terms).sum()


def _comparable_levels(student: Levels, teacher: Levels) -> list[tuple[Tensor, Tensor]]:
    if len(student) != len(teacher) or len(student) < FSP.fewest:
        raise LayoutError(
            f"fsp relates successive levels: it needs {FSP.fewest} or more maps of each side, as "
            f"many of the student as of the teacher, got {len(student)} and {len(teacher)}."
        )
    shapes = [tuple(x.shape) for x in (*student, *teacher)]
    if any(len(shape) != 4 for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
        raise LayoutError(
            f"fsp compares features of the same images, all of them maps, got {shapes[0]} and, at "
            f"other levels or from the teacher, {', '.join(map(str, shapes[1:]))}."
        )
    return [comparable("fsp", *pair, grids=False) for pair in zip(student, teacher, strict=True)]


def _on_one_grid(first: Tensor, second: Tensor, pool: Pool) -> tuple[Tensor, Tensor]:
    """Two maps as (B, C, positions) on the coarser grid of the two, along each axis."""
    size = min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3])
    shrink = F.adaptive_max_pool2d if pool == "max" else F.adaptive_avg_pool2d
    first, second = (x if x.shape[2:] == size else shrink(x, size) for x in (first, second))
    return first.flatten(2), second.flatten(2)


def _flow(first: Tensor, second: Tensor, pool: Pool) -> Tensor:
    a, b = _on_one_grid(first, second, pool)
    return torch.bmm(a / a.shape[2], b.mT)


def _count(matrices: Tensor, entries: Entries) -> int:
    return matrices.numel() if entries == "mean" else len(matrices)


@full_precision
def hcl(
    student: Float[Tensor, "b c h w"],
    teacher: Float[Tensor, "b c h w"],
    *,
    pyramid: Sequence[int] = (4, 2, 1),
) -> Float[Tensor, ""]:
    """Mean squared error of two maps and of a pyramid of their averages (HCL).

    The weighted mean of the mean squared errors of the maps as they are (weight 1) and averaged
    to 4, 2 and 1 positions along each axis (weights 1/2, 1/4, 1/8). A step of the pyramid that
    leaves the map as it is does not count and halves nothing; along an axis that is short already
    it pools nothing. Square maps are compared as in the authors' code, which leaves out a step by
    the height alone.

    Args:
        student: A map (B, C, H, W).
        teacher: A map of the same shape.
        pyramid: Positions along each axis at each step.

    Source: Chen, Liu, Zhao and Jia, "Distilling Knowledge via Knowledge Review", CVPR 2021, which
    sums it over several levels whose features `projectors.ABF` fuses, with a weight of 0.6 to 8 on
    CIFAR-100, where it grows over the first 20 epochs, and of 1 on ImageNet.

    >>> hcl(torch.full((1, 1, 8, 8), 2.0), torch.zeros(1, 1, 8, 8))
    tensor(4.)
    """
    student, teacher = comparable("hcl", student, teacher)
    if student.ndim != 4:
        raise LayoutError(f"hcl compares maps (B, C, H, W), got two of {tuple(student.shape)}.")
    mine, theirs = in_memory_order(student, teacher)
    full = F.mse_loss(mine, theirs)
    grid = student.shape[2:]
    sizes = [(min(step, grid[0]), min(step, grid[1])) for step in pyramid]
    sizes = [size for size in sizes if size != grid]
    if not sizes:
        return full
    # Averages are products with constants: all steps at once are two small products forward and
    # one backward, where a pooling of each step would send back a gradient as large as the map.
    averages = torch.cat([_averages(grid, size, student) for size in sizes], 1)
    difference = student.flatten(2) @ averages - teacher.flatten(2) @ averages
    counts = [size[0] * size[1] for size in sizes]
    total, weight, weights = full, 1.0, 1.0
    for part in torch.split(difference, counts, 2):
        weight /= 2
        weights += weight
        total = total + weight * part.square().mean()
    return total / weights


def _averages(
    grid: Sequence[int], size: Sequence[int], like: Tensor
) -> Float[Tensor, "positions steps"]:
    """The matrix that averages a flattened map to fewer positions."""
    axes = [
        F.adaptive_avg_pool1d(torch.eye(before, dtype=like.dtype, device=like.device), after)
        for before, after in zip(grid, size, strict=True)
    ]
    return torch.kron(*axes)


class FSP(LevelLoss):
    """Squared difference of the flow matrices between successive levels.

    Args:
        pool: How the finer of two grids is pooled, `max` or `average`.
        entries: Over the entries of a matrix the `sum` or the `mean`.
    """

    form: ClassVar[Form] = "positions"
    equal_grids: ClassVar[bool] = False
    fewest: ClassVar[int] = 2
    because: ClassVar[str] = "its matrices are means over positions of products of two levels"

    def __init__(self, pool: Pool = "max", entries: Entries = "sum") -> None:
        super().__init__()
        self.pool = chosen("FSP", "pool", pool, _POOLS)
        self.entries = chosen("FSP", "entries", entries, _ENTRIES)

    def forward(self, student: Levels, teacher: Levels) -> Scalar:
        """See `fsp`."""
        return fsp(student, teacher, pool=self.pool, entries=self.entries)


class HCL(FeatureLoss):
    """Mean squared error of two maps and of a pyramid of their averages.

    Args:
        pyramid: Positions along each axis at each step of the pyramid, each 1 or more.
    """

    form: ClassVar[Form] = "positions"
    because: ClassVar[str] = "it averages a map to coarser and coarser grids"

    def __init__(self, pyramid: Sequence[int] = (4, 2, 1)) -> None:
        super().__init__()
        if not isinstance(pyramid, Sequence) or not all(whole(step, 1) for step in pyramid):
            raise ConfigError(
                "HCL's pyramid is a list of whole numbers, each of 1 position or more, got "
                f"{pyramid}."
            )
        self.pyramid = tuple(pyramid)

    def forward(self, student: Feature, teacher: Feature) -> Scalar:
        """See `hcl`."""
        return hcl(student, teacher, pyramid=self.pyramid)
