"""Losses that compare singular vectors of feature maps."""

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses.base import LevelLoss, Levels, Scalar, comparable, full_precision, whole
from anyteacher.losses.gram import gram, inverse_root
from anyteacher.spectral.gram import eigh


@full_precision
def kd_svd(
    student: Levels,
    teacher: Levels,
    *,
    vectors: int = 1,
    spare: int = 3,
    beta: float = 8.0,
) -> Float[Tensor, ""]:
    """Difference of how the main directions of one level's channels relate to the next level's.

    Of each image and level, the map as a matrix (HW, C) has right singular vectors v_1, v_2, …
    (C,). The teacher's first `vectors` are kept, with the sign that makes their entries add up to
    something positive: the relation of two levels depends on it, and a decomposition gives any.
    Each is paired with the student's vector that has the largest absolute cosine with it, out of
    the first `vectors + spare`, and this takes its sign. Both are multiplied by the teacher's
    singular value, in units of the length of all that are kept. Between level l and the next,
    `R_kij = exp(-(v^l_ki - v^{l+1}_kj)^2 / beta)` relates each channel i of the one to each channel
    j of the other. The loss is the sum over k, i, j and l of `(R^s_kij - R^t_kij)^2`, averaged over
    images. Grids may differ; widths may not.

    The cost is an eigendecomposition of the smaller of (C, C) and (HW, HW) for each image and
    level, and `vectors` times the product of the widths of two levels in numbers for each image.

    Gradients are finite where singular values are equal or zero: directions that cannot be told
    apart are not turned into each other, and those of no length count as zero.

    Source: Lee, Kim and Song, "Self-supervised Knowledge Distillation Using Singular Value
    Decomposition", ECCV 2018.

    Args:
        student: The student's maps (B, C_l, H_l, W_l), the shallowest first; two at least.
        teacher: The teacher's, of the same widths.
        vectors: How many singular vectors of the teacher are compared.
        spare: How many more of the student's can be paired with them.
        beta: Squared width of the radial basis function.

    Raises:
        LayoutError: for maps that cannot be compared, or only one level.
    """
    if len(student) != len(teacher) or len(student) < 2:
        raise LayoutError(
            "kd_svd relates each level to the next and needs as many of the student as of the "
            f"teacher, two at least, got {len(student)} and {len(teacher)}. Give both sides of "
            "the link a list of taps, the shallowest first."
        )
    pairs = [
        _aligned(mine, theirs, vectors, spare)
        for mine, theirs in zip(student, teacher, strict=True)
    ]
    losses = []
    for (mine, theirs), (my_next, their_next) in pairwise(pairs):
        kept = min(mine.shape[1], my_next.shape[1])
        difference = _relation(mine[:, :kept], my_next[:, :kept], beta) - _relation(
            theirs[:, :kept], their_next[:, :kept], beta
        )
        losses.append(difference.square().sum((1, 2, 3)).mean())
    return torch.stack(losses).sum()


def _relation(
    level: Float[Tensor, "b k i"], following: Float[Tensor, "b k j"], beta: float
) -> Float[Tensor, "b k i j"]:
    """R - 1: all entries are close to 1 when there are many channels, and 1 would hide the rest."""
    return torch.expm1((level[..., :, None] - following[..., None, :]).square() / -beta)


def _aligned(
    student: Tensor, teacher: Tensor, vectors: int, spare: int
) -> tuple[Float[Tensor, "b k c"], Float[Tensor, "b k c"]]:
    """The student's vectors that match the teacher's leading ones, and those, by their weights."""
    student, teacher = comparable("kd_svd", student, teacher, grids=False)
    if student.ndim < 3 or teacher.ndim < 3:
        raise LayoutError(
            f"kd_svd compares features of maps (B, C, H, W), got {tuple(student.shape)} from the "
            f"student and {tuple(teacher.shape)} from the teacher: a vector has no positions."
        )
    theirs, energies = _leading(teacher.flatten(2), vectors)
    mine, _ = _leading(student.flatten(2), vectors + spare)
    theirs = theirs * _sign(theirs.sum(2, keepdim=True))
    cosine = theirs @ mine.mT
    index = cosine.abs().argmax(2, keepdim=True)
    mine = mine.gather(1, index.expand(-1, -1, mine.shape[2])) * _sign(cosine.gather(2, index))
    # sqrt(e_k / sum e): the singular values in units of the length of all of them.
    weights = energies * inverse_root(energies) * inverse_root(energies.sum(1, keepdim=True))
    return mine * weights[..., None], theirs * weights[..., None]


def _sign(x: Tensor) -> Tensor:
    return 1 - 2 * (x < 0).to(x.dtype)  # 1 for zero


def _leading(
    x: Float[Tensor, "b c p"], count: int
) -> tuple[Float[Tensor, "b k c"], Float[Tensor, "b k"]]:
    """Leading right singular vectors of each `x^T`, one a row, and their squared singular values.

    Fewer than `count` where the matrix has fewer; zeros beyond its numerical rank.
    """
    channels, positions = x.shape[1:]
    by_channel = channels <= positions
    products = gram(x if by_channel else x.mT)
    values, axes = _eigenpairs(products, min(count, channels, positions))
    floor = max(channels, positions) * torch.finfo(x.dtype).eps * values[:, :1].detach()
    values = torch.where(values > floor, values, 0.0)
    there = values > 0
    if by_channel:
        return axes.mT * there[..., None], values
    # The axes are left singular vectors u, and v = X^T u / |X^T u|.
    return (x @ axes).mT * inverse_root(values)[..., None], values


def _eigenpairs(
    products: Float[Tensor, "b n n"], count: int
) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b n k"]]:
    """The largest eigenvalues of symmetric matrices and their eigenvectors, largest first.

    Their derivatives are those of first-order perturbation theory: a change D of the matrix moves
    value i by `v_i^T D v_i`, and vector i by `sum_j v_j (v_j^T D v_i) / (e_i - e_j)`. Where two
    values are equal to half the digits, that term is left out: it has no bound, and the vectors of
    equal values have no direction of their own. torch's own gradient is infinite there.
    """
    fixed = products.detach()
    # What is not finite is no matter for the decomposition; it comes back by the change below.
    values, vectors = eigh(torch.where(fixed.isfinite(), fixed, 0.0))
    values, vectors = values.flip(-1), vectors.flip(-1)
    leading = vectors[..., :count]
    change = vectors.mT @ (products - fixed) @ leading  # zero, and carries the derivative
    gaps = values[:, None, :count] - values[:, :, None]
    told_apart = gaps.abs() > torch.finfo(values.dtype).eps ** 0.5 * values[:, :1, None]
    turn = change / torch.where(told_apart, gaps, 1.0) * told_apart
    return values[:, :count] + change.diagonal(dim1=1, dim2=2), leading + vectors @ turn


class KDSVD(LevelLoss):
    """Relations between the singular vectors of consecutive levels.

    Source: Lee, Kim and Song, "Self-supervised Knowledge Distillation Using Singular Value
    Decomposition", ECCV 2018. The authors' code has half the sum over the batch, and
    cuts its gradient to the length of the task's, so that it has no weight of its own.

    Args:
        vectors: How many singular vectors of the teacher are compared; at least 1.
        spare: How many more of the student's can be paired with them; 0 or more.
        beta: Squared width of the radial basis function; positive.
    """

    form = "positions"
    equal_grids = False
    fewest = 2
    because = "it decomposes the map of each image into directions over its positions"

    def __init__(self, vectors: int = 1, spare: int = 3, beta: float = 8.0) -> None:
        super().__init__()
        if not (whole(vectors, 1) and whole(spare, 0) and 0 < beta < math.inf):
            raise ConfigError(
                "KDSVD needs at least 1 vector, 0 or more to spare (whole numbers) and a positive "
                f"beta, got {vectors}, {spare} and {beta}. Its authors use 1, 3 and 8."
            )
        self.vectors, self.spare, self.beta = vectors, spare, beta

    def forward(self, student: Levels, teacher: Levels) -> Scalar:
        """See `kd_svd`."""
        return kd_svd(student, teacher, vectors=self.vectors, spare=self.spare, beta=self.beta)
