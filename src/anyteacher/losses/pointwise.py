"""Losses that compare two features element by element or row by row."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError
from anyteacher.losses.base import (
    BatchLoss,
    Feature,
    FeatureLoss,
    Scalar,
    comparable,
    in_memory_order,
)
from anyteacher.normalization import inverse_length, standardize


def mse(
    student: Float[Tensor, "b c *grid"], teacher: Float[Tensor, "b c *grid"]
) -> Float[Tensor, ""]:
    """Mean over all elements of the squared difference (the FitNet or hint loss).

    >>> mse(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 4.0]]))
    tensor(2.)
    """
    student, teacher = in_memory_order(*comparable("mse", student, teacher))
    return F.mse_loss(student, teacher)


def smooth_l1(
    student: Float[Tensor, "b c *grid"], teacher: Float[Tensor, "b c *grid"], *, beta: float = 1.0
) -> Float[Tensor, ""]:
    """Mean over all elements of the smooth absolute difference, quadratic below `beta`.

    >>> smooth_l1(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.5, 4.0]]))
    tensor(0.8125)
    """
    student, teacher = in_memory_order(*comparable("smooth_l1", student, teacher))
    return F.smooth_l1_loss(student, teacher, beta=beta)


def cosine(
    student: Float[Tensor, "b c *grid"], teacher: Float[Tensor, "b c *grid"], *, eps: float = 1e-8
) -> Float[Tensor, ""]:
    """Mean over rows (images, or positions of a map) of 1 - cosine similarity along the channels.

    A row of zeros has no direction: its similarity is 0, without a gradient.

    >>> cosine(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[2.0, 0.0], [1.0, 0.0]]))
    tensor(0.5000)
    """
    student, teacher = comparable("cosine", student, teacher)
    # The lengths after the sum: one product of the features, where unit rows would be two more.
    products = (student * teacher).sum(1, keepdim=True)
    lengths = inverse_length(student, 1, eps) * inverse_length(teacher, 1, eps)
    return (1 - products * lengths).mean()


def log_sum(
    student: Float[Tensor, "b c *grid"],
    teacher: Float[Tensor, "b c *grid"],
    *,
    power: float = 4.0,
    eps: float = 1e-6,
) -> Float[Tensor, ""]:
    """`2 log(sum |z_s - z_t|^power + eps)` of features standardised per channel over the batch.

    The logarithm makes the gradient a relative one, softer on large differences. `eps` keeps
    value and gradient finite at equality. With one row the standardised features are zero.

    Source: Miles and Mikolajczyk, "Understanding the Role of the Projector in Knowledge
    Distillation", AAAI 2024.
    """
    student, teacher = comparable("log_sum", student, teacher)
    rows = [axis for axis in range(student.ndim) if axis != 1]
    difference = standardize(student, rows) - standardize(teacher, rows)
    # A power of the square is quick where the power is 4; below 2 it has no gradient at zero.
    powers = difference.square().pow(power / 2) if power >= 2 else difference.abs().pow(power)
    return 2 * torch.log(powers.sum() + eps)


class MSE(FeatureLoss):
    """Mean squared error over all elements.

    Source: Romero, Ballas, Kahou, Chassang, Gatta and Bengio, "FitNets: Hints for Thin Deep Nets",
    ICLR 2015, which has half the sum of squares and trains the hint in a stage of its own.
    """

    def forward(self, student: Feature, teacher: Feature) -> Scalar:
        """See `mse`."""
        return mse(student, teacher)


class SmoothL1(FeatureLoss):
    """Smooth L1 over all elements.

    Args:
        beta: Where the loss turns from quadratic to linear; positive.
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        if not 0 < beta < math.inf:
            raise ConfigError(f"SmoothL1 needs a positive beta, got {beta}.")
        self.beta = beta

    def forward(self, student: Feature, teacher: Feature) -> Scalar:
        """See `smooth_l1`."""
        return smooth_l1(student, teacher, beta=self.beta)


class Cosine(FeatureLoss):
    """1 - cosine similarity along the channels, averaged over rows."""

    def forward(self, student: Feature, teacher: Feature) -> Scalar:
        """See `cosine`."""
        return cosine(student, teacher)


class LogSum(BatchLoss):
    """Logarithm of a summed power of the difference of standardised features.

    Args:
        power: Exponent of the absolute difference; its authors use 4.
        eps: Keeps the logarithm finite at equality; positive.
        gather: See `BatchLoss`.
    """

    def __init__(self, power: float = 4.0, eps: float = 1e-6, gather: bool = False) -> None:
        super().__init__(gather)
        if not (1 <= power < math.inf and 0 < eps < math.inf):
            raise ConfigError(
                f"LogSum needs a power of at least 1 and a positive eps, got {power} and {eps}."
            )
        self.power, self.eps = power, eps

    def compare(self, student: Feature, teacher: Feature) -> Scalar:
        """See `log_sum`."""
        return log_sum(student, teacher, power=self.power, eps=self.eps)
