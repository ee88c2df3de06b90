"""The main directions of a Gram matrix, exact or followed from one step to the next."""

import torch
from jaxtyping import Float, Int
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
    matrix: Float[Tensor, "d d"],
    rank: int,
    start: Float[Tensor, "d r"] | None = None,
    turn: int | Int[Tensor, ""] = 0,
) -> tuple[Float[Tensor, "d r"], Float[Tensor, " r"]]:
    """Orthonormal directions that hold most of the energy `v^T G v`, and what each of them holds.

    Without a start: the leading eigenvectors. With one, `ITERATIONS` steps of the block power
    method from there and from a few fresh directions, then the best r of what both span
    (Rayleigh and Ritz). The error of direction i falls by the ratio of eigenvalues `l_{r+1} / l_i`
    at each step; where the ratio is close to 1, the directions hold nearly the same energy and it
    matters little which is taken. The power method alone never leaves a space that the matrix maps
    to itself, such as channels beside others that were dead at first. The fresh directions, a
    quarter as many as are followed and others at each turn, find what is there; directions without
    any energy give their places to the strongest channels at once.

    Sources: Halko, Martinsson and Tropp, "Finding Structure with Randomness", SIAM Review 2011, for
    the power method with more directions than are asked for.

    Args:
        matrix: A symmetric matrix without negative eigenvalues. One that is zero or not finite
            leaves the start as it is.
        rank: The number of directions, at most d.
        start: Orthonormal directions to start from.
        turn: How many batches were before, which chooses the fresh directions.

    Returns:
        The directions, the strongest first, and their energies.
    """
    matrix = finite(matrix)
    if start is None:
        basis = eigh(matrix)[1].flip(1)[:, :rank].contiguous()
        return basis, energies_along(matrix, basis)
    start = start.to(matrix.dtype)
    block = torch.cat([start, _fresh(matrix, min(len(matrix) - rank, max(8, rank // 4)), turn)], 1)
    product = matrix @ block
    lengths = product.norm(dim=0)
    empty = lengths <= 100 * torch.finfo(matrix.dtype).eps * lengths.max()
    strongest = matrix.diagonal().topk(block.shape[1]).indices
    product = torch.where(empty, matrix[:, strongest], product)
    # Householder's, which makes orthonormal columns also where the product has too few.
    block = torch.linalg.qr(product).Q
    for _ in range(ITERATIONS - 1):
        block = torch.linalg.qr(matrix @ block).Q
    values, vectors = eigh(block.mT @ (matrix @ block))
    basis = (block @ vectors.flip(1)[:, :rank]).contiguous()
    some = matrix.trace() > 0
    return torch.where(some, basis, start), torch.where(some, values.flip(0)[:rank], 0.0)


def _fresh(matrix: Tensor, columns: int, turn: int | Tensor) -> Tensor:
    """Columns in all directions, the same in every process and on every device."""
    width = len(matrix)
    # No generator, which a compiled graph could not hold: each number's place is mixed, in 32 bits.
    mixed = torch.arange(width * columns, device=matrix.device) + turn * (width * columns)
    mixed = mixed % 2**32
    for _ in range(2):
        mixed = (mixed ^ (mixed >> 16)) * 0x45D9F3B % 2**32
    mixed = mixed ^ (mixed >> 16)
    return (mixed / 2**31 - 1).to(matrix.dtype).reshape(columns, width).mT
