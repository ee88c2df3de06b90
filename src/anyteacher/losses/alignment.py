"""Centred kernel alignment of the features of a batch."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.losses.base import BatchLoss, Images, Scalar, chosen, comparable, full_precision
from anyteacher.losses.gram import check_images, deviations, flat, gram, inverse_root

Estimator = Literal["biased", "unbiased"]
_ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)


@full_precision
def cka(
    student: Float[Tensor, "b c *grid"],
    teacher: Float[Tensor, "b d *other"],
    *,
    estimator: Estimator = "biased",
) -> Float[Tensor, ""]:
    """1 - linear centred kernel alignment of the flattened features, from 0 to 1.

    `1 - <K, L> / (||K||_F ||L||_F)` of the Gram matrices K and L of both sides, centred: the
    cosine of what the features say of the similarity of the images. It does not see a rotation, a
    scale or a shift of either side. Where the images of a side are all equal, it is 1 without a
    gradient. Widths and grids may differ.

    Few images look similar by chance where the features have many elements. `unbiased` leaves out
    each image's similarity to itself and centres accordingly (Song et al., 2012), as Nguyen et al.
    (ICLR 2021) do for batches; it can exceed 1.

    Source: Kornblith, Norouzi, Lee and Hinton, "Similarity of Neural Network Representations
    Revisited", ICML 2019; as a loss: Saha, Bialkowski and Khalifa, "Distilling Representational
    Similarity using Centered Kernel Alignment (CKA)", BMVC 2022.

    >>> corner = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> cka(corner, 5 * corner.flip(1) - 2).abs().round(decimals=4)
    tensor(0.)
    >>> cka(corner, torch.tensor([[0.0], [1.0], [1.0]])).round(decimals=4)
    tensor(0.6838)

    Raises:
        LayoutError: for fewer than three images (four if unbiased), which are always alike.
        ConfigError: for an unknown estimator.
    """
    chosen("cka", "estimator", estimator, _ESTIMATORS)
    student, teacher = comparable("cka", student, teacher, widths=False, grids=False)
    check_images("cka", len(student), 3 if estimator == "biased" else 4)
    mine, theirs = deviations(flat(student)), deviations(flat(teacher))
    images, width, other = len(mine), mine.shape[1], theirs.shape[1]
    if estimator == "unbiased":
        return 1 - _alignment(_centred_unbiased(gram(mine)), _centred_unbiased(gram(theirs)))
    # <K, L> = ||X^T Y||_F^2 of centred features: the side with the fewer multiply-adds.
    if images * (width + other) <= width**2 + other**2 + width * other:
        return 1 - _alignment(_centred(gram(mine)), _centred(gram(theirs)))
    mine, theirs = mine - mine.mean(0), theirs - theirs.mean(0)
    norms = gram(mine.mT).square().sum(), gram(theirs.mT).square().sum()
    return 1 - (mine.mT @ theirs).square().sum() * inverse_root(norms[0]) * inverse_root(norms[1])


def _centred(products: Float[Tensor, "b b"]) -> Float[Tensor, "b b"]:
    """The Gram matrix of the rows without their mean."""
    rows = products.mean(1, keepdim=True)
    return products - rows - products.mean(0) + rows.mean()


def _centred_unbiased(products: Float[Tensor, "b b"]) -> Float[Tensor, "b b"]:
    """Without the diagonal, every row adding up to zero.

    The inner product of two such matrices is n (n - 3) times the unbiased estimate of their
    Hilbert-Schmidt independence criterion; the factor cancels in an alignment.
    """
    images = len(products)
    others = 1 - torch.eye(images, dtype=products.dtype, device=products.device)
    products = products * others
    rows = products.sum(1, keepdim=True) / (images - 2)
    columns = products.sum(0) / (images - 2)
    return (products - rows - columns + rows.sum() / (images - 1)) * others


def _alignment(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of two matrices; 0 where one is zero."""
    scale = inverse_root(first.square().sum()) * inverse_root(second.square().sum())
    return (first * second).sum() * scale


class CKA(BatchLoss):
    """1 - linear centred kernel alignment.

    Source: Kornblith, Norouzi, Lee and Hinton, "Similarity of Neural Network Representations
    Revisited", ICML 2019; as a loss: Saha, Bialkowski and Khalifa, "Distilling Representational
    Similarity using Centered Kernel Alignment (CKA)", BMVC 2022.

    Args:
        estimator: `biased`, or `unbiased` for small batches of large features.
        gather: See `BatchLoss`.
    """

    equal_widths = False
    equal_grids = False

    def __init__(self, estimator: Estimator = "biased", gather: bool = False) -> None:
        super().__init__(gather)
        self.estimator = chosen("CKA", "estimator", estimator, _ESTIMATORS)

    def compare(self, student: Images, teacher: Images) -> Scalar:
        """See `cka`."""
        return cka(student, teacher, estimator=self.estimator)
