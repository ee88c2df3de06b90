"""Inner products between images, from which the relational losses are made.

All of them need only the Gram matrix of a batch: B x B numbers, at B^2 D multiply-adds.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anyteacher.errors import LayoutError


def flat(x: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d"]:
    """One row an image, in the order in which its numbers lie in memory.

    Relations between images do not depend on that order, so maps whose channels come last, and
    tokens, need not be copied.
    """
    if x.ndim > 2 and x.stride(1) == 1:
        x = x.movedim(1, -1)
    return x.flatten(1)


def deviations(rows: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
    """Rows without what they share, for quantities that a common shift does not change.

    Differences of large inner products are then not taken where rows have much in common. Equal
    rows become zeros exactly, which they would not by subtracting a rounded mean.
    """
    return rows - rows[:1].detach()  # no gradient is lost: a shift changes nothing


def gram(rows: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b n n"]:
    """`X X^T` with a backward pass of one product, not of two and their sum.

    The gradient of X is `(S + S^T) X` for a gradient S of the Gram matrix.
    """
    half = rows @ rows.detach().mT  # its gradient is S X
    if not rows.requires_grad:
        return half
    return half + (half - half.detach()).mT  # adds zero, and S^T X


def inverse_root(squares: Tensor) -> Tensor:
    """`1 / sqrt`, and 0 with gradient 0 where there is nothing to divide by."""
    there = squares > torch.finfo(squares.dtype).tiny
    return torch.where(there, squares, 1.0).rsqrt() * there


def cosines(rows: Float[Tensor, "b d"]) -> Float[Tensor, "b b"]:
    """Cosine similarity of each pair of rows; a row of zeros has 0 with every row."""
    products = gram(rows)
    inverse = inverse_root(products.diagonal())
    return products * inverse[:, None] * inverse


def squared_distances(
    products: Float[Tensor, "b b"],
) -> tuple[Float[Tensor, "b b"], Bool[Tensor, "b b"]]:
    """Squared distances of the rows behind a Gram matrix, and which pairs are apart.

    A pair closer than rounding can tell (16 units in the last place of its inner products) is
    taken for equal: its distance would be noise, and the noise's square root has any gradient.
    """
    squares = products.diagonal()[:, None] + products.diagonal()
    floor = 16 * torch.finfo(products.dtype).eps * squares
    distances = squares - products - products.mT
    return distances, distances > floor


def not_negative(x: Tensor) -> Tensor:
    """What rounding took below zero becomes zero, and keeps its gradient.

    Differences of close numbers come out so where they are small, not only where they are zero.
    Their gradient is still right to some digits, and a clamp would make it zero.
    """
    return x - x.detach().clamp(max=0)


def check_images(name: str, images: int, fewest: int) -> None:
    """Refuses a batch that is too small for the loss to say anything.

    Raises:
        LayoutError: naming the loss, the number of images and the least that it needs.
    """
    if images < fewest:
        raise LayoutError(
            f"{name} compares relations between images and needs at least {fewest} of them, got "
            f"{images}. Use a larger batch, leave out the last incomplete one (drop_last=True), "
            "or gather the batches of all processes (gather=True)."
        )
