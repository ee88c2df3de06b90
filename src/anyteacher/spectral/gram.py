"""Gram matrices, and numbers made from them with the gradient of the features in closed form.

With `Z` (n, d) and `Z^T Z / n = V diag(l) V^T`, a function F of the eigenvalues l that does not
depend on their order has the gradient

    dF/dZ = (2 / n) Z V diag(dF/dl) V^T = (2 / n) Z M.

One product with a symmetric (d, d) matrix, and no backward pass through an eigendecomposition: the
gradient is finite where eigenvalues are equal or zero, as long as dF/dl is. `Z Z^T / n` has the
same eigenvalues but for zeros and is the smaller of the two where n < d; with its matrix M the
gradient is `(2 / n) M Z`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from anyteacher.errors import LayoutError
from anyteacher.parallel import total, world_size

_CHUNK = 4096  # rows that are centred at a time, so that no centred copy of all is made


@dataclass(frozen=True)
class Gram:
    """A Gram matrix divided by the number of rows.

    Attributes:
        matrix: `Z^T Z / n` (d, d), or `Z Z^T / n` (n, n) where that is smaller.
        mean: The mean row that was taken off first, (d,); None where none was.
        rows: The number of rows n, of all processes together where they were added up.
        processes: The number of processes whose rows are in it.
    """

    matrix: Float[Tensor, "m m"]
    mean: Float[Tensor, " d"] | None
    rows: int
    processes: int


def precise(z: Tensor) -> Tensor:
    """In single precision or better: half precision has no room for squares."""
    return z.to(torch.promote_types(z.dtype, torch.float32))


@torch.no_grad()
def gram(
    z: Float[Tensor, "n d"], *, centre: bool = False, reduce: bool = False, by_rows: bool = True
) -> Gram:
    """The Gram matrix of a feature matrix, without a history.

    Args:
        z: Features, in single precision or better.
        centre: Whether to take the mean row off first.
        reduce: Whether to add up the rows of all processes. Costs the communication of (d, d).
        by_rows: Whether `Z Z^T` will do where it is smaller.

    Raises:
        LayoutError: when there is no row.
    """
    processes = world_size() if reduce else 1
    rows = len(z)
    if processes > 1:
        rows = int(total(torch.tensor(rows, device=z.device)))
    if rows == 0 or z.shape[1] == 0:
        raise LayoutError(
            f"A feature matrix of shape {tuple(z.shape)} has no singular values: it needs at least "
            "one row (an image or a position) and one channel."
        )
    by_rows = by_rows and len(z) < z.shape[1] and processes == 1
    mean = None
    if centre:
        mean = (total(z.sum(0)) if processes > 1 else z.sum(0)) / rows
    matrix = _products(z, mean, by_rows)
    if processes > 1:
        matrix = total(matrix)
    matrix = matrix / rows
    if mean is not None:
        # Rows that are all alike leave the rounding of their mean, which is no direction.
        noise = 64 * torch.finfo(z.dtype).eps ** 2 * mean.square().sum()
        matrix = torch.where(matrix.trace() <= noise, 0.0, matrix)
    return Gram(matrix, mean, rows, processes)


def _products(z: Tensor, mean: Tensor | None, by_rows: bool) -> Tensor:
    if by_rows:
        z = z if mean is None else z - mean
        return z @ z.mT
    if mean is None:
        return z.mT @ z
    matrix = z.new_zeros(z.shape[1], z.shape[1])
    for part in torch.split(z, _CHUNK):
        deviations = part - mean
        matrix = torch.addmm(matrix, deviations.mT, deviations)
    return matrix


def finite(matrix: Float[Tensor, "m m"]) -> Float[Tensor, "m m"]:
    """Zeros in the place of a matrix that is not finite, which no decomposition takes."""
    return torch.where(matrix.isfinite().all(), matrix, 0.0)


def attach(
    z: Float[Tensor, "n d"], of: Gram, value: Float[Tensor, ""], slope: Float[Tensor, "m m"]
) -> Float[Tensor, ""]:
    """A number made from a Gram matrix, with the gradient of the features that it comes from.

    Several processes: F depends on all rows through `sum_k Z_k^T Z_k / N`, so that the gradient of
    the rows of process k is `(2 / N) Z_k M`, with N the number of all rows and M the same for all.
    Data parallelism averages over the W processes what each of them finds for the parameters, a sum
    over its rows. The sum over all rows comes out if each hands on `W (2 / N) Z_k M`, however many
    rows it has. The value is that of all rows on every process.

    Args:
        z: The features, as they were given to `gram`.
        of: Their Gram matrix.
        value: The number F; not a number where the Gram matrix is not finite.
        slope: The matrix M.
    """
    known = of.matrix.isfinite().all()
    value = torch.where(known, value, torch.nan)
    factor = torch.where(known, slope * (2 * of.processes / of.rows), torch.nan)
    attached: Tensor = _Attach.apply(z, of.mean, factor, value)
    return attached


class _Attach(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, mean: Tensor | None, factor: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(z, mean, factor)
        return value.clone()

    @staticmethod
    @once_differentiable  # the factor has no history: a second derivative would be wrong
    def backward(ctx: Any, *gradients: Any) -> Any:
        z, mean, factor = ctx.saved_tensors
        with torch.autocast(z.device.type, enabled=False):
            factor = factor * gradients[0]
            if len(factor) < z.shape[1]:  # of the rows
                gradient = factor @ (z if mean is None else z - mean)
            elif mean is None:
                gradient = z @ factor
            else:
                gradient = torch.addmm(mean @ factor, z, factor, beta=-1)
        return gradient, None, None, None
