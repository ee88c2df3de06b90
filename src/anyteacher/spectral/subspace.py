"""The main directions of a Gram matrix, exact or followed from one step to the next."""

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.spectral.gram import eigh, energies_along, finite

ITERATIONS = 2  # of the power method at each step; the subspace barely moves between steps


def tracks(side: int, rank: int, device: torch.device | None = None) -> bool:
    """Whether to follow the top subspace by power iteration rather than to find it anew.

    An eigendecomposition costs about 10 m^3 and uses the machine badly; a step of the power method
    costs a product of m^2 r and an orthogonalisation of m r^2. Measured on a CPU (docs/spectral.md)
    the second pays from m = 256 and up to a quarter of the directions. Elsewhere decompositions are
    slower still, so that it is taken to pay from half that size; this was not measured.

    Args:
        side: The side m of the Gram matrix: the smaller of the rows and the channels.
        rank: The number of directions r.
        device: Where the features are; None for anywhere.
    """
    least = 256 if device is not None and device.type == "cpu" else 128
    return side >= least and 4 * rank <= side


def top_subspace(
    matrix: Float[Tensor, "d d"], rank: int, start: Float[Tensor, "d r"] | None = None
) -> Float[Tensor, "d r"]:
    """Orthonormal directions that hold most of the energy `v^T G v`, the strongest first.

    Without a start: the leading eigenvectors. With one, `ITERATIONS` steps of the block power
    method from there: each multiplies by G and makes the columns orthonormal again. By the nested
    structure of that orthogonalisation the first k columns are what the method would make of k
    columns alone. The error of direction i falls by the ratio of eigenvalues `l_{r+1} / l_i` each
    time; where the ratio is close to 1, the directions hold nearly the same energy and it matters
    little which is taken.

    Args:
        matrix: A symmetric matrix without negative eigenvalues; zeros are taken for one that is not
            finite.
        rank: The number of directions, at most d.
        start: Orthonormal directions to start from.
    """
    return measured_subspace(matrix, rank, start)[0]


def measured_subspace(
    matrix: Float[Tensor, "d d"], rank: int, start: Float[Tensor, "d r"] | None
) -> tuple[Float[Tensor, "d r"], Float[Tensor, " r"]]:
    """`top_subspace`, and the energy that each of its directions holds."""
    matrix = finite(matrix)
    if start is None:
        return _leading(matrix, rank)
    basis = scale = start.to(matrix.dtype)
    for _ in range(ITERATIONS):
        # Householder's, which makes orthonormal columns also where the product has too few.
        basis, scale = torch.linalg.qr(matrix @ basis)
    # In the order in which it is loaded again: another would be rounded otherwise.
    basis = basis.contiguous()
    energies = energies_along(matrix, basis)
    # A compiled graph cannot look.
    if not torch.compiler.is_compiling() and _stuck(matrix, energies, scale):
        return _leading(matrix, rank)
    return basis, energies


def _leading(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    basis = eigh(matrix)[1].flip(1)[:, :rank].contiguous()
    return basis, energies_along(matrix, basis)


def _stuck(matrix: Tensor, energies: Tensor, scale: Tensor) -> bool:
    """Whether directions lie where the matrix is zero and never leave, or miss what is plain.

    The r leading eigenvalues sum up to no less than the r largest diagonal entries (Schur).

    Args:
        matrix: Of products.
        energies: That the directions hold.
        scale: The triangular factor of the last product with them.
    """
    entries, diagonal, held = matrix.diagonal(), scale.diagonal().abs(), energies.sum()
    rounding = 100 * torch.finfo(matrix.dtype).eps
    least = entries.topk(min(len(energies), len(entries))).values.sum()
    empty = diagonal.min() <= rounding * diagonal.max()
    left = entries.sum() - held > rounding * entries.sum()
    return bool((held < 0.9 * least - rounding * entries.sum()) | (empty & left))
