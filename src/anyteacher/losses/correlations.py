"""Losses of correlations between the class probabilities of two models of one task."""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses.base import BatchLoss, Feature, LogitLoss, Scalar, chosen
from anyteacher.losses.logits import class_logits, positive_temperature, weights_of

Scale = Literal["squared", "none"]
_SCALES: tuple[Scale, ...] = get_args(Scale)


def dist(
    student: Float[Tensor, "b k *grid"],
    teacher: Float[Tensor, "b k *grid"],
    *,
    temperature: float = 1.0,
    inter: float = 1.0,
    intra: float = 1.0,
    scale: Scale = "squared",
    eps: float = 1e-8,
) -> Float[Tensor, ""]:
    """`inter (1 - r_rows) + intra (1 - r_columns)` of the probabilities, times `T^2`.

    `r_rows` is the mean over rows (images, or pixels of all images) of Pearson's correlation
    between the two distributions over the classes, `r_columns` the mean over classes of that
    between the two columns, which run through all rows. What is constant has a correlation of 0
    and no gradient. What it is given counts as logits: features that have one width by chance would
    be compared as if their channels were classes.

    Source: Huang, You, Wang, Qian and Xu, "Knowledge Distillation from A Stronger Teacher",
    NeurIPS 2022.

    Args:
        student: The student's logits.
        teacher: The teacher's.
        temperature: Divides the logits.
        inter: Weight of the relations between the classes of one row.
        intra: Weight of the relations between the rows of one class.
        scale: `squared` multiplies by the temperature's square, as for classification; `none` does
            not, as its authors do for segmentation.
        eps: Added to the product of the two norms, so that a class which neither model ever
            predicts does not count. Its authors' value weighs on columns with norms below 1e-4.

    Raises:
        LayoutError: for a single row, which has no columns to correlate.
        ConfigError: for an unknown scale.
    """
    chosen("dist", "scale", scale, _SCALES)
    student, teacher = class_logits("dist", student, teacher)
    if student.numel() == student.shape[1]:
        raise LayoutError(
            "dist correlates the columns of a batch and needs at least two rows, got logits of "
            f"shape {tuple(student.shape)}. Use a larger batch, or losses.KD()."
        )
    mine, theirs = ((logits / temperature).softmax(1) for logits in (student, teacher))
    rows = [axis for axis in range(mine.ndim) if axis != 1]
    loss = inter * (1 - _pearson(mine, theirs, [1], eps).mean())
    loss = loss + intra * (1 - _pearson(mine, theirs, rows, eps).mean())
    return temperature**2 * loss if scale == "squared" else loss


class DIST(BatchLoss, LogitLoss):
    """Correlations in place of divergences: of the rows, and of the columns over the batch.

    Its authors use weights of 1 or 2 for both parts.

    Args:
        temperature: Divides both models' logits; positive.
        inter: Weight of the relations between the classes of one row; 0 or more.
        intra: Weight of the relations between the rows of one class; 0 or more.
        scale: `squared` multiplies by the temperature's square; `none`, as for segmentation, not.
        eps: See `dist`; positive. A smaller one lets rare classes count.
        gather: See `BatchLoss`.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        *,
        inter: float = 1.0,
        intra: float = 1.0,
        scale: Scale = "squared",
        eps: float = 1e-8,
        gather: bool = False,
    ) -> None:
        super().__init__(gather)
        if not 0 < eps < math.inf:
            raise ConfigError(f"DIST needs a positive eps, got {eps}.")
        self.eps = eps
        self.inter, self.intra = weights_of("DIST", inter=inter, intra=intra)
        self.temperature = positive_temperature("DIST", temperature)
        self.scale = chosen("DIST", "scale", scale, _SCALES)

    def compare(self, student: Feature, teacher: Feature) -> Scalar:
        """See `dist`."""
        return dist(
            student,
            teacher,
            temperature=self.temperature,
            inter=self.inter,
            intra=self.intra,
            scale=self.scale,
            eps=self.eps,
        )


def _pearson(a: Tensor, b: Tensor, axes: list[int], eps: float) -> Tensor:
    """Pearson's correlation along some axes; 0, with no gradient, where one side is constant."""
    (a, a_norm, a_varies), (b, b_norm, b_varies) = (_centred(x, axes) for x in (a, b))
    correlation = (a * b).sum(axes, keepdim=True) / (a_norm * b_norm + eps)
    # Of a constant (the start of a student whose last layer is zero) only rounding would be
    # correlated, with a gradient of 1 / eps.
    return torch.where(a_varies & b_varies, correlation, 0.0)


def _centred(x: Tensor, axes: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Deviations from the mean, their norm, and whether it is more than rounding."""
    mean = x.mean(axes, keepdim=True)
    x = x - mean
    squares = x.square().sum(axes, keepdim=True)
    count = x.numel() // squares.numel()
    varies = squares > count * (4 * torch.finfo(x.dtype).eps * mean).square()
    return x, torch.where(varies, squares, 1.0).sqrt(), varies
