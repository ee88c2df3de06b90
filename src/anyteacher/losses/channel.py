"""Losses of the relations between channels, and of what the channels of an image select."""

from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.losses.attention import flat_maps
from anyteacher.losses.base import Feature, FeatureLoss, Form, Scalar, chosen, full_precision
from anyteacher.losses.gram import not_negative
from anyteacher.normalization import unit_length

Unit = Literal["maps", "rows"]
Divisor = Literal["images", "images_squared"]
_UNITS: tuple[Unit, ...] = get_args(Unit)
_DIVISORS: tuple[Divisor, ...] = get_args(Divisor)

_TINY = 1e-24  # of a squared length


@full_precision
def inter_channel_correlation(
    student: Float[Tensor, "b c h w"],
    teacher: Float[Tensor, "b c i j"],
    *,
    unit: Unit = "maps",
    divisor: Divisor = "images",
) -> Float[Tensor, ""]:
    """Difference of the matrices (C, C) of the correlations between channels; any two grids.

    `1 / (B C) sum_b ||G_s - G_t||_F^2`. With `X` (C, H W) the map of one image, `G = X X^T`, with
    either every row of `X` at unit length (`maps`: cosines between channels) or every row of `G`
    (`rows`: the authors' code). `images_squared` divides by B^2 C.

    >>> unlike = torch.eye(4)[:2].reshape(1, 2, 2, 2)
    >>> inter_channel_correlation(unlike, torch.ones(1, 2, 2, 2))
    tensor(1.)

    Source: Liu, Huang, Lin, Xie, Wang, Chang and Liang, "Exploring Inter-Channel Correlation for
    Diversity-preserved Knowledge Distillation", ICCV 2021.
    """
    chosen("inter_channel_correlation", "unit", unit, _UNITS)
    chosen("inter_channel_correlation", "divisor", divisor, _DIVISORS)
    mine, theirs = flat_maps("inter_channel_correlation", student, teacher, grids=False)
    if unit == "rows":
        distances = _row_distance(mine, theirs)
    else:
        distances = _gram_distance(unit_length(mine, 2).mT, unit_length(theirs, 2).mT)
    images, channels = mine.shape[:2]
    return distances.sum() / channels / (images**2 if divisor == "images_squared" else images)


@full_precision
def neuron_selectivity(
    student: Float[Tensor, "b c h w"], teacher: Float[Tensor, "b d h w"]
) -> Float[Tensor, ""]:
    """Squared maximum mean discrepancy between the channels of one image; any two widths.

    Each channel, its positions at unit length, is a sample: `s_i` and `t_j` of (H W). With the
    kernel `k(x, y) = (x . y)^2` the loss is the mean over images of
    `mean_ii' k(s_i, s_i') + mean_jj' k(t_j, t_j') - 2 mean_ij k(s_i, t_j)`.

    With a single position every channel is +1 or -1, the kernel 1 and the loss 0.

    >>> unlike = torch.eye(4)[:2].reshape(1, 2, 2, 2)
    >>> neuron_selectivity(unlike, unlike[:, :1])
    tensor(0.5000)

    Source: Huang and Wang, "Like What You Like: Knowledge Distill via Neuron Selectivity
    Transfer", 2017 (arXiv 1707.01219).
    """
    mine, theirs = flat_maps("neuron_selectivity", student, teacher, widths=False)
    # mean_ij (s_i . t_j)^2 is the product of S^T S / C and T^T T / D: the discrepancy is the
    # distance of these two matrices over positions.
    mine, theirs = (unit_length(x, 2) * x.shape[1] ** -0.5 for x in (mine, theirs))
    return _gram_distance(mine, theirs).mean()


def _inverse_length(squared: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:
    return torch.where(squared > _TINY, squared.clamp_min(_TINY).rsqrt(), 0.0)


def _gram_distance(a: Float[Tensor, "b p n"], b: Float[Tensor, "b q n"]) -> Float[Tensor, " b"]:
    """`||a^T a - b^T b||_F^2` of each image.

    It costs n^2 (p + q) directly, and n (p^2 + q^2 + p q) by way of a a^T, b b^T and a b^T. The
    lesser of the two is done, and the greater matrices are never made.
    """
    p, q, n = a.shape[1], b.shape[1], a.shape[2]
    if n * (p + q) <= p * p + q * q + p * q:
        return (a.mT @ a - b.mT @ b).square().sum((1, 2))
    squares = [(x @ y.mT).square().sum((1, 2)) for x, y in ((a, a), (b, b), (a, b))]
    return not_negative(squares[0] + squares[1] - 2 * squares[2])


def _row_distance(a: Float[Tensor, "b c n"], b: Float[Tensor, "b c m"]) -> Float[Tensor, " b"]:
    """`||A - B||_F^2` of each image: a a^T and b b^T (C, C) with rows of unit length."""
    c, n, m = *a.shape[1:], b.shape[2]
    if c * (n + m) <= 2 * (n * n + m * m + n * m):
        return (unit_length(a @ a.mT, 2) - unit_length(b @ b.mT, 2)).square().sum((1, 2))
    # Row i of x x^T times row i of y y^T, without either matrix: x_i (x^T y) y_i^T.
    aa, bb, ab = ((x @ (x.mT @ y) * y).sum(2) for x, y in ((a, a), (b, b), (a, b)))
    by_a, by_b = _inverse_length(aa), _inverse_length(bb)
    squares = aa * by_a.square() + bb * by_b.square() - 2 * ab * by_a * by_b
    return not_negative(squares).sum(1)


class ICKD(FeatureLoss):
    """Inter-channel correlation: channels are to be alike or unlike as the teacher's are.

    Source: Liu et al., ICCV 2021. Their code has `rows`, and weight 2.5 with `images` on CIFAR-100;
    for ImageNet it has `images_squared`.

    Args:
        unit: What has unit length: the `maps` of the channels, or the `rows` of the matrices of
            their products.
        divisor: `images` for the mean over images, `images_squared` for that divided by the
            number of images once more; under data parallelism by the process's own number.
    """

    form: ClassVar[Form] = "positions"
    equal_grids: ClassVar[bool] = False
    because: ClassVar[str] = "it correlates the channels of one image over its positions"

    def __init__(self, unit: Unit = "maps", divisor: Divisor = "images") -> None:
        super().__init__()
        self.unit = chosen("ICKD", "unit", unit, _UNITS)
        self.divisor = chosen("ICKD", "divisor", divisor, _DIVISORS)

    def forward(self, student: Feature, teacher: Float[Tensor, "b c ..."]) -> Scalar:
        """See `inter_channel_correlation`."""
        return inter_channel_correlation(student, teacher, unit=self.unit, divisor=self.divisor)


class NST(FeatureLoss):
    """Neuron selectivity transfer: the channels are to select places as the teacher's do.

    Channels are compared as a set and not one by one, so that it needs no projector.

    Source: Huang and Wang, 2017, whose code has weight 50 and leaves out the teacher's own term:
    the student's gradient is the same.
    """

    form: ClassVar[Form] = "positions"
    equal_widths: ClassVar[bool] = False
    because: ClassVar[str] = "it compares which positions the channels select"

    def forward(self, student: Feature, teacher: Float[Tensor, "b d *grid"]) -> Scalar:
        """See `neuron_selectivity`."""
        return neuron_selectivity(student, teacher)
