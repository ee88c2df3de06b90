"""The main directions of a Gram matrix, exact or followed from one step to the next."""

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.spectral.gram import eigh, finite

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
    matrix = finite(matrix)
    if start is None:
        leading: Tensor = eigh(matrix)[1]
        return leading.flip(1)[:, :rank].contiguous()
    basis = start.to(matrix.dtype)
    for _ in range(ITERATIONS):
        # Householder's, which makes orthonormal columns also where the product has too few.
        basis = torch.linalg.qr(matrix @ basis).Q
    # In the order in which it is loaded again: another would be rounded otherwise.
    return basis.contiguous()
