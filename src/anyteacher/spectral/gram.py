"""Gram matrices, and numbers made from them with the gradient of the features in closed form.

With `Z` (n, d) and `Z^T Z / n = V diag(l) V^T`, a function F of the eigenvalues l that does not
depend on their order has the gradient

    dF/dZ = (2 / n) Z V diag(dF/dl) V^T = (2 / n) Z M.

One product with a symmetric (d, d) matrix, and no backward pass through an eigendecomposition: the
gradient is finite where eigenvalues are equal or zero, as long as dF/dl is. Where dF/dl is the same
for all but k directions, `M = a I + V_k diag(w) V_k^T` takes 2 n d k multiply-adds, not n d^2.
`Z Z^T / n` has the same eigenvalues but for zeros and is the smaller of the two where n < d; with
its matrix M the gradient is `(2 / n) M Z`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from anyteacher.errors import LayoutError
from anyteacher.parallel import total, world_size

_CHUNK = 2048  # rows at a time, where something is made of each: a bound to the memory it takes
_BLOCK = 128  # columns at a time


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


@dataclass(frozen=True)
class Slope:
    """The matrix `a I + V diag(w) V^T`, the derivative of a number by a Gram matrix.

    Attributes:
        level: The number a, 0-dim.
        vectors: V, orthonormal columns (m, k).
        weights: w, (k,).
    """

    level: Float[Tensor, ""]
    vectors: Float[Tensor, "m k"]
    weights: Float[Tensor, " k"]


def precise(z: Tensor) -> Tensor:
    """In single precision or better: half precision has no room for squares."""
    return z.to(torch.promote_types(z.dtype, torch.float32))


def features(z: Tensor) -> Float[Tensor, "n d"]:
    """A feature matrix, in single precision or better.

    Raises:
        LayoutError: for anything else.
    """
    if z.ndim != 2 or not z.is_floating_point():
        raise LayoutError(
            "A feature matrix is real, with one row for each image or position (n, d), got a "
            f"{z.dtype} of shape {tuple(z.shape)}. Bring a map to rows first: x.permute(0, 2, 3, 1)"
            ".flatten(0, 2)."
        )
    return precise(z)


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
        return _square((z if mean is None else z - mean).mT)
    if mean is None:
        return _square(z)
    matrix = z.new_zeros(z.shape[1], z.shape[1])
    for part in torch.split(z, _CHUNK):
        matrix = matrix + _square(part - mean)
    return matrix


def _square(z: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """`Z^T Z`. On a CPU only the blocks on and above the diagonal are computed, and mirrored."""
    width = z.shape[1]
    if width <= _BLOCK or z.device.type != "cpu":
        return z.mT @ z
    matrix = z.new_empty(width, width)
    for start in range(0, width, _BLOCK):
        end = min(start + _BLOCK, width)
        matrix[start:end, start:] = z[:, start:end].mT @ z[:, start:]
        matrix[end:, start:end] = matrix[start:end, end:].mT
    return matrix


def finite(matrix: Float[Tensor, "*b m m"]) -> Float[Tensor, "*b m m"]:
    """Zeros in the place of matrices that are not finite, which no decomposition takes."""
    return torch.where(matrix.isfinite().all(), matrix, 0.0)


def energies_along(
    matrix: Float[Tensor, "m m"], directions: Float[Tensor, "m k"]
) -> Float[Tensor, " k"]:
    """`v^T G v` for each column v."""
    return (matrix @ directions * directions).sum(0)


def eigh(
    matrix: Float[Tensor, "*b m m"],
) -> tuple[Float[Tensor, "*b m"], Float[Tensor, "*b m m"]]:
    """Eigenvalues of symmetric matrices, the smallest first, and their eigenvectors.

    Zeros are taken for matrices that are not finite. In single precision LAPACK's divide and
    conquer fails on some finite matrices, and gives NaN: seen where most channels are dead and the
    others of very different scales. These are done again in double.
    """
    matrix = finite(matrix)
    if matrix.device.type == "cpu" and matrix.dtype == torch.float32:
        if torch.compiler.is_compiling():  # which cannot look at values
            return _in_double(matrix)
        try:
            values, vectors = torch.linalg.eigh(matrix)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            return _in_double(matrix)
        good = (values.sum() + vectors.sum()).isfinite()
        return (values, vectors) if good else _in_double(matrix)
    values, vectors = torch.linalg.eigh(matrix)
    return values, vectors


def _in_double(matrix: Tensor) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(matrix.double())
    return values.to(matrix.dtype), vectors.to(matrix.dtype)


def attach(
    z: Float[Tensor, "n d"], of: Gram, value: Float[Tensor, ""], slope: Slope
) -> Float[Tensor, ""]:
    """A number made from a Gram matrix, with the gradient of the features that it comes from.

    Several processes: F depends on all rows through `sum_k Z_k^T Z_k / N`, so that the gradient of
    the rows of process k is `(2 / N) Z_k M`, with N the number of all rows and M the same for all.
    Data parallelism averages over the W processes what each of them finds for the parameters, a sum
    over its rows. The sum over all rows comes out if each hands on `W (2 / N) Z_k M`, however many
    rows it has. W is the sum of what the processes' losses ask of F: of 1 from each, and also where
    each weighs its loss by its share of the rows, times W, as means over rows want it. The value is
    that of all rows on every process.

    Args:
        z: The features, as they were given to `gram`.
        of: Their Gram matrix.
        value: The number F; not a number where the Gram matrix is not finite.
        slope: The matrix M.
    """
    known = of.matrix.isfinite().all()
    value = torch.where(known, value, torch.nan)
    factor = torch.where(known, torch.ones_like(value), torch.nan) * (2 / of.rows)
    saved = of.mean, slope.vectors, slope.level * factor, slope.weights * factor
    attached: Tensor = _Attach.apply(z, value, of.processes, *saved)
    return attached


class _Attach(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, z: Tensor, value: Tensor, processes: int, *saved: Tensor | None
    ) -> Tensor:
        ctx.processes = processes
        ctx.save_for_backward(z, *saved)
        return value.clone()

    @staticmethod
    @once_differentiable  # the slope has no history: a second derivative would be wrong
    def backward(ctx: Any, *gradients: Any) -> Any:
        z, mean, vectors, level, weights = ctx.saved_tensors
        asked = total(gradients[0]) if ctx.processes > 1 else gradients[0]
        with torch.autocast(z.device.type, enabled=False):
            slope = Slope(level * asked, vectors, weights * asked)
            return _times(z, mean, slope), None, None, None, None, None, None


def _times(z: Tensor, mean: Tensor | None, slope: Slope) -> Tensor:
    """The (centred) features times the matrix, or the matrix times them where it is of the rows."""
    vectors, scaled = slope.vectors, slope.vectors * slope.weights
    side, few = len(vectors), 2 * vectors.shape[1] <= len(vectors)
    if not few:
        matrix = scaled @ vectors.mT + slope.level * torch.eye(side, dtype=z.dtype, device=z.device)
        if side < z.shape[1]:
            return matrix @ (z if mean is None else z - mean)
        return z @ matrix if mean is None else torch.addmm(mean @ matrix, z, matrix, beta=-1)
    if side < z.shape[1]:
        z = z if mean is None else z - mean
        return torch.addmm(z * slope.level, scaled, vectors.mT @ z)
    result = torch.empty_like(z)
    for part, out in zip(torch.split(z, _CHUNK), torch.split(result, _CHUNK), strict=True):
        rows = part if mean is None else part - mean
        torch.mul(rows, slope.level, out=out)
        out.addmm_(rows @ vectors, scaled.mT)
    return result
