"""Functions of the singular values of a feature matrix, with gradients in closed form.

Throughout `l_i = sigma_i^2 / n`, the mean square of the rows along the i-th principal direction, so
that no value depends on how often a batch is repeated. Each is a mean over the d channels or free
of scale, like every other loss. There are first derivatives only.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anyteacher.errors import ConfigError
from anyteacher.spectral.gram import Slope, attach, eigh, features, finite, gram
from anyteacher.spectral.subspace import top_subspace

# From eigenvalues, the smallest first, to a number and its derivative by each of them.
_Measure = Callable[[Tensor], tuple[Tensor, Tensor]]


def trailing_energy(
    z: Float[Tensor, "n d"],
    rank: int | Int[Tensor, ""] | None = None,
    *,
    energy: float | Float[Tensor, ""] | None = None,
    fraction: bool = False,
    centre: bool = False,
    reduce: bool = False,
) -> Float[Tensor, ""]:
    """The energy beyond the first r principal directions, `sum_{i>r} sigma_i^2 / (n d)`.

    It is the mean squared error of the best approximation of rank r (Eckart and Young, 1936), and
    what an inverted projector of rank r leaves to the student alone. With V_r the first r right
    singular vectors, its gradient is `2 Z (I - V_r V_r^T) / (n d)`. It treats V_r as a constant,
    which is exact where `sigma_r > sigma_{r+1}` (the envelope theorem), and one of several where
    they are equal.

    Args:
        z: Features.
        rank: The number r of directions that are free, from 1 to d.
        energy: Instead of a rank, the share of the energy that is to be free, between 0 and 1: r is
            the fewest directions that hold it.
        fraction: Whether to divide by `||Z||_F^2` rather than n d: from 0 to 1, whatever the scale.
            0 for features of zeros.
        centre: Whether to take the mean row off first; else the mean is a direction like others.
        reduce: Whether the rows are those of all processes; see `gram.attach`.

    >>> z = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
    >>> trailing_energy(z, 1)  # (4 + 1) / 9
    tensor(0.5556)
    >>> trailing_energy(z, 2, fraction=True)  # 1 / 14
    tensor(0.0714)
    >>> trailing_energy(z, energy=0.9)  # 9 of 14 are too few, 13 of 14 are enough
    tensor(0.1111)

    Raises:
        ConfigError: for an impossible rank or share, or both, or neither.
        LayoutError: when there is no row, or z is no matrix of real numbers.
    """
    z = features(z)
    width = z.shape[1]
    rank = _checked(rank, energy, width)

    def measure(values: Tensor) -> tuple[Tensor, Tensor]:
        if energy is not None:
            # Not what the larger ones hold already.
            before = values.flip(0).cumsum(0).flip(0) - values
            trailing = before >= energy * values.sum()
        else:
            assert rank is not None
            trailing = torch.arange(len(values), device=values.device) < len(values) - rank
        left = (values * trailing).sum()
        value, (inside, outside) = _energy(left, values.sum(), width, fraction)
        return value, torch.where(trailing, outside, inside)

    return _measured(z, measure, centre, reduce, kept=rank if isinstance(rank, int) else None)


def tracked_trailing_energy(
    z: Float[Tensor, "n d"],
    rank: int | Int[Tensor, ""],
    start: Float[Tensor, "d k"] | None = None,
    *,
    turn: int | Int[Tensor, ""] = 0,
    most: int | None = None,
    fraction: bool = False,
    centre: bool = False,
    reduce: bool = False,
) -> tuple[Float[Tensor, ""], Float[Tensor, "d k"]]:
    """`trailing_energy` beyond a subspace that is followed from batch to batch, and that subspace.

    The value and its gradient are those of the subspace found, so the value is never too small. See
    `top_subspace` for the method.

    Args:
        z: Features.
        rank: The number r of directions that are free, from 1 to k.
        start: The subspace that the batch before gave; None for the exact one of this batch.
        turn: How many batches were before.
        most: The number k of directions that are followed, where a rank that changes needs more
            than r; by default r.
        fraction: See `trailing_energy`.
        centre: Likewise.
        reduce: Likewise.

    Raises:
        ConfigError: for an impossible rank.
        LayoutError: when there is no row, or z is no matrix of real numbers.
    """
    z = features(z)
    most = int(rank) if most is None else most
    given = None if start is None else tuple(start.shape)
    if not 1 <= most <= z.shape[1] or given not in (None, (z.shape[1], most)):
        raise ConfigError(
            f"Of {z.shape[1]} channels, from 1 to as many directions are followed, from a start of "
            f"shape (channels, directions); got {most} and a start of shape {given}."
        )
    rank = _checked(rank, None, min(most, z.shape[1]))
    with torch.no_grad(), torch.autocast(z.device.type, enabled=False):
        products = gram(z, centre=centre, reduce=reduce, by_rows=False)
        basis, energies = top_subspace(products.matrix, most, start, turn)
        kept = torch.arange(most, device=z.device) < rank
        whole = finite(products.matrix).trace()
        left = (whole - energies @ kept.to(z.dtype)).clamp(min=0)
        value, (inside, outside) = _energy(left, whole, z.shape[1], fraction)
        slope = Slope(outside, basis, (inside - outside) * kept)
    return attach(z, products, value, slope), basis


def nuclear_norm(
    z: Float[Tensor, "n d"], *, centre: bool = False, reduce: bool = False
) -> Float[Tensor, ""]:
    """The sum of the singular values, as `sum_i sigma_i / (sqrt(n) d)`.

    The mean over d directions of the root mean square of the rows along each. Convex, and so the
    nearest to the rank that a convex function comes. Singular values that rounding made, below
    `sqrt(d eps)` of the largest, count as zero and have no gradient.

    >>> nuclear_norm(torch.diag(torch.tensor([3.0, 2.0, 1.0])))  # 6 / (sqrt(3) 3)
    tensor(1.1547)

    Args:
        z: Features.
        centre: Whether to take the mean row off first.
        reduce: Whether the rows are those of all processes.

    Raises:
        LayoutError: when there is no row, or z is no matrix of real numbers.
    """
    z = features(z)
    width = z.shape[1]

    def measure(values: Tensor) -> tuple[Tensor, Tensor]:
        there = _there(values)
        roots = torch.where(there, values, 1.0).sqrt()
        return (roots * there).sum() / width, there / (2 * width * roots)

    return _measured(z, measure, centre, reduce)


def log_det(
    z: Float[Tensor, "n d"], *, eps: float = 1e-2, centre: bool = False, reduce: bool = False
) -> Float[Tensor, ""]:
    """`(1 / d) sum_i log(1 + sigma_i^2 / (n eps))`, the log-determinant of `I + Z^T Z / (n eps)`.

    A smooth stand-in for the rank: directions far below eps cost in proportion to their energy, and
    those far above it hardly more when they grow.

    >>> log_det(torch.diag(torch.tensor([3.0, 2.0, 1.0])), eps=1 / 3)  # log(100) / 3
    tensor(1.5351)

    Args:
        z: Features.
        eps: The mean square from which a direction counts, in squared units of the features.
        centre: Whether to take the mean row off first.
        reduce: Whether the rows are those of all processes.

    Raises:
        ConfigError: when eps is not positive.
        LayoutError: when there is no row, or z is no matrix of real numbers.
    """
    if not 0 < eps < math.inf:
        raise ConfigError(f"log_det needs a positive eps, got {eps}. 0.01 is the default.")
    z = features(z)
    width = z.shape[1]

    def measure(values: Tensor) -> tuple[Tensor, Tensor]:
        return (values / eps).log1p().sum() / width, 1 / (width * (eps + values))

    return _measured(z, measure, centre, reduce)


def effective_rank(
    z: Float[Tensor, "n d"], *, centre: bool = False, reduce: bool = False
) -> Float[Tensor, ""]:
    """The exponential of the entropy of `p_i = sigma_i^2 / sum_j sigma_j^2`, from 1 to min(n, d).

    r for r equal singular values and zeros; 0 for features of zeros. Energies below `d eps` of the
    largest count as zero.

    Source: Roy and Vetterli, "The Effective Rank: A Measure of Effective Dimensionality", EUSIPCO
    2007, who take the entropy of `sigma_i / sum_j sigma_j`.

    >>> effective_rank(torch.eye(5)[:3]).round(decimals=4)
    tensor(3.)

    Args:
        z: Features.
        centre: Whether to take the mean row off first.
        reduce: Whether the rows are those of all processes.

    Raises:
        LayoutError: when there is no row, or z is no matrix of real numbers.
    """
    return _measured(features(z), _effective_rank, centre, reduce)


def effective_rank_of(energies: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    """The effective rank of squared singular values, in any order; 0 where all are zero."""
    return _effective_rank(energies)[0]


def _measured(
    z: Tensor, measure: _Measure, centre: bool, reduce: bool, kept: int | None = None
) -> Tensor:
    """A function of the eigenvalues; one slope for all but the `kept` largest if that is stated."""
    with torch.no_grad(), torch.autocast(z.device.type, enabled=False):
        products = gram(z, centre=centre, reduce=reduce)
        values, vectors = eigh(products.matrix)
        value, slopes = measure(values.clamp(min=0))
        level, others = torch.zeros_like(value), slice(None)
        if kept is not None:
            first = max(0, len(values) - kept)
            # The level is that of whichever are more.
            level = slopes[0] if kept <= first else slopes[-1]
            others = slice(first, None) if kept <= first else slice(first)
        slope = Slope(level, vectors[:, others], slopes[others] - level)
    return attach(z, products, value, slope)


def _energy(
    left: Tensor, whole: Tensor, width: int, fraction: bool
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The trailing energy, and its slopes along the free directions and along the others."""
    if not fraction:
        return left / width, (torch.zeros_like(left), torch.ones_like(left) / width)
    scale = _inverse(whole)
    return left * scale, (-left * scale * scale, (1 - left * scale) * scale)


def _effective_rank(values: Tensor) -> tuple[Tensor, Tensor]:
    there = _there(values)
    scale = _inverse((values * there).sum())
    shares = torch.where(there, values * scale, 1.0)  # log 1 = 0
    logs = shares.log()
    entropy = -(shares * logs * there).sum()
    rank = entropy.exp() * there.any()
    return rank, -rank * (logs + entropy) * there * scale


def _there(values: Tensor) -> Tensor:
    """Which eigenvalues are more than what rounding makes of zeros."""
    floor = len(values) * torch.finfo(values.dtype).eps * values.max()
    return values > floor.clamp(min=torch.finfo(values.dtype).tiny)


def _inverse(total: Tensor) -> Tensor:
    """1 / x, and 0 where there is nothing to divide by."""
    there = total > torch.finfo(total.dtype).tiny
    return there / torch.where(there, total, 1.0)


def _checked(rank: Any, energy: Any, width: int) -> Any:
    """The rank, if one is given, as a number of this language or a tensor."""
    if (rank is None) == (energy is None):
        raise ConfigError(
            "trailing_energy takes either a rank or the share of the energy that is free, got "
            f"rank={rank} and energy={energy}."
        )
    if not (energy is None or isinstance(energy, Tensor) or 0 < energy < 1):
        raise ConfigError(f"A share of the energy is between 0 and 1, got {energy}.")
    if rank is None:
        return None
    if isinstance(rank, Tensor):
        whole = rank.ndim == 0 and not (rank.is_floating_point() or rank.dtype == torch.bool)
        # To look at a tensor elsewhere would be to wait for the device.
        seen = rank.device.type == "cpu" and not torch.compiler.is_compiling()
        if whole and (not seen or 1 <= int(rank) <= width):
            return rank
    elif hasattr(rank, "__index__") and not isinstance(rank, bool) and 1 <= rank <= width:
        return int(rank)
    raise ConfigError(
        f"A rank is a whole number from 1 to the width of {width}, got {rank!r}. A share of the "
        "energy is given by name, such as energy=0.9."
    )
