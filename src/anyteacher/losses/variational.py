"""Losses that bound the mutual information of student and teacher."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import ConfigError
from anyteacher.losses.base import Feature, FeatureLoss, Scalar, comparable


def variational_information(
    student: Float[Tensor, "b c *grid"],
    teacher: Float[Tensor, "b c *grid"],
    *,
    variance: Float[Tensor, " c"],
) -> Float[Tensor, ""]:
    """Mean over all elements of `((s - t)^2 / variance + log variance) / 2`.

    The negative log-likelihood of one feature under a Gaussian around the other, without its
    constant. Where the teacher's feature is not projected, it is also, up to a constant, an upper
    bound of minus the mutual information of the two.

    Args:
        student: The student's feature; projected, it is the mean of the Gaussian.
        teacher: The teacher's feature.
        variance: A positive number for each channel.

    Source: Ahn, Hu, Damianou, Lawrence and Dai, "Variational Information Distillation for
    Knowledge Transfer", CVPR 2019.

    >>> variational_information(torch.zeros(1, 1), torch.tensor([[2.0]]), variance=torch.ones(1))
    tensor(2.)
    """
    student, teacher = comparable("variational_information", student, teacher)
    rows = [axis for axis in range(student.ndim) if axis != 1]
    variance = variance.to(student)
    # The variance is the same over rows: the mean over them first leaves C numbers to divide.
    squares = F.mse_loss(student, teacher, reduction="none").mean(rows)
    return (squares / variance + variance.log()).mean() / 2


class VID(FeatureLoss):
    """Variational information: squared differences, each channel weighted by a learned precision.

    Channels that cannot be explained come to count less. The variance of a channel is
    `softplus(.) + eps` of a parameter, which the optimiser trains; it is saved with the rest. The
    authors project the student's feature by three 1x1 convolutions (`projectors.MLP`), and weight
    the loss differently for each pair of networks.

    With a projector on the teacher's side, both features can shrink together, down to a value of
    `log(eps) / 2`: as with any distance, only the task opposes that.

    Args:
        variance: What the variances start at; larger than eps. The authors use 5.
        eps: The least variance; positive.
    """

    def __init__(self, variance: float = 5.0, eps: float = 1e-5) -> None:
        super().__init__()
        if not 0 < eps < variance < math.inf:
            raise ConfigError(
                "VID needs a positive eps, and a variance to start from that is larger, got "
                f"{eps} and {variance}."
            )
        self.start, self.eps = variance, eps

    def build(
        self, student_width: int, teacher_width: int, teacher: nn.Module | None = None
    ) -> None:
        """Makes one parameter for each channel."""
        rest = self.start - self.eps
        inverse = rest + math.log(-math.expm1(-rest))  # of the softplus, safe for large numbers
        self.scale = nn.Parameter(torch.full((teacher_width,), inverse))

    @property
    def variance(self) -> Float[Tensor, " c"]:
        """The variance of each channel, in single precision or better."""
        scale = self.scale.to(torch.promote_types(self.scale.dtype, torch.float32))
        return F.softplus(scale) + self.eps

    def forward(self, student: Feature, teacher: Feature) -> Scalar:
        """See `variational_information`."""
        return variational_information(student, teacher, variance=self.variance)
