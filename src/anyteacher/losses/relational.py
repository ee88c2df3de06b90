"""Losses that compare distances and angles between the images of a batch."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anyteacher.losses.base import BatchLoss, Images, Scalar, comparable, full_precision
from anyteacher.losses.gram import (
    check_images,
    deviations,
    flat,
    gram,
    inverse_root,
    squared_distances,
)


@full_precision
def rkd_distance(
    student: Float[Tensor, "b c *grid"], teacher: Float[Tensor, "b d *other"]
) -> Float[Tensor, ""]:
    """Difference of the distances between images, each side in units of its own mean distance.

    `mean_ij smooth_l1(|s_i - s_j| / m_s - |t_i - t_j| / m_t)` over all B^2 pairs of flattened
    features, where m is a side's mean of the distances that are not zero. Widths and grids may
    differ. Where all images of a side are equal, its distances are 0 and have no gradient.

    Source: Park, Kim, Lu and Cho, "Relational Knowledge Distillation", CVPR 2019.

    >>> line = torch.tensor([[0.0], [1.0], [2.0]])
    >>> rkd_distance(line, torch.tensor([[0.0, 5.0], [0.0, 8.0], [0.0, 11.0]]))
    tensor(0.)
    >>> rkd_distance(line, torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])).round(decimals=4)
    tensor(0.0717)

    Raises:
        LayoutError: for fewer than three images: the one distance of two is its own mean.
    """
    student, teacher = comparable("rkd_distance", student, teacher, widths=False, grids=False)
    check_images("rkd_distance", len(student), 3)
    return F.smooth_l1_loss(_distances(student), _distances(teacher))


@full_precision
def rkd_angle(
    student: Float[Tensor, "b c *grid"], teacher: Float[Tensor, "b d *other"]
) -> Float[Tensor, ""]:
    """Difference of the angles that images span with each other.

    `mean_abc smooth_l1(cos_s(abc) - cos_t(abc))` over all B^3 triples, where `cos(abc)` is the
    cosine of the angle at image a between the ways to images b and c, and 0 where one of them has
    no length. Widths and grids may differ.

    Source: Park, Kim, Lu and Cho, "Relational Knowledge Distillation", CVPR 2019.

    >>> corner = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> rkd_angle(corner, 2 * corner + 1)
    tensor(0.)
    >>> rkd_angle(corner, torch.tensor([[0.0], [1.0], [2.0]])).round(decimals=4)
    tensor(0.1296)

    Raises:
        LayoutError: for fewer than three images, which span no angle.
    """
    student, teacher = comparable("rkd_angle", student, teacher, widths=False, grids=False)
    check_images("rkd_angle", len(student), 3)
    return F.smooth_l1_loss(_angles(student), _angles(teacher))


def _distances(x: Tensor) -> Float[Tensor, "b b"]:
    squares, apart = squared_distances(gram(deviations(flat(x))))
    # The root of zero has no finite gradient, and a mask alone would make it zero times infinity.
    distances = torch.where(apart, squares, 1.0).sqrt() * apart
    mean = distances.sum() / apart.sum().clamp(min=1)
    return distances / torch.where(mean > 0, mean, 1.0)


def _angles(x: Tensor) -> Float[Tensor, "b b b"]:
    """The cosines as (a, b, c), from inner products alone.

    (x_b - x_a)(x_c - x_a) = g_bc + (g_aa / 2 - g_ab) + (g_aa / 2 - g_ac): B^3 numbers a few times
    over, where the differences themselves would be B^2 D.
    """
    products = gram(deviations(flat(x)))
    squares, apart = squared_distances(products)
    inverse = inverse_root(torch.where(apart, squares, 0.0))
    shares = products.diagonal()[:, None] / 2 - products
    dots = products + shares[:, :, None] + shares[:, None, :]
    # As one factor: its gradient is then two small products in place of a pass over B^3 numbers.
    return dots * (inverse[:, :, None] @ inverse[:, None, :])


class RKDDistance(BatchLoss):
    """Distances between images, in units of their mean (RKD-D).

    Source: Park, Kim, Lu and Cho, "Relational Knowledge Distillation", CVPR 2019. The authors
    weigh it with 25 in classification, beside 50 for the angles, on vectors of unit length, and
    with 1 beside 2 in metric learning.

    Args:
        gather: See `BatchLoss`.
    """

    equal_widths = False
    equal_grids = False

    def compare(self, student: Images, teacher: Images) -> Scalar:
        """See `rkd_distance`."""
        return rkd_distance(student, teacher)


class RKDAngle(BatchLoss):
    """Angles between triples of images (RKD-A). Keeps a few times B^3 numbers.

    Source: Park, Kim, Lu and Cho, "Relational Knowledge Distillation", CVPR 2019. The authors
    weigh it with 50 in classification, beside 25 for the distances, on vectors of unit length, and
    with 2 beside 1 in metric learning.

    Args:
        gather: See `BatchLoss`.
    """

    equal_widths = False
    equal_grids = False

    def compare(self, student: Images, teacher: Images) -> Scalar:
        """See `rkd_angle`."""
        return rkd_angle(student, teacher)
