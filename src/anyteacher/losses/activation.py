"""Losses on responses before their ReLU: which are active, and those that a ReLU lets pass."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import ConfigError
from anyteacher.losses.base import (
    Direction,
    Feature,
    FeatureLoss,
    Scalar,
    comparable,
    in_memory_order,
)
from anyteacher.parallel import gather


def activation_boundary(
    student: Float[Tensor, "b c *grid"], teacher: Float[Tensor, "b c *grid"], *, margin: float = 1.0
) -> Float[Tensor, ""]:
    """`sum max(0, margin - y s)^2 / B` with `y = 1` where the teacher is positive, else -1.

    A squared hinge loss: the student is to be active where the teacher is, by a margin, and by how
    much the teacher is does not matter. Both are compared before their ReLU.

    Source: Heo, Lee, Yun and Choi, "Knowledge Transfer via Distillation of Activation Boundaries
    Formed by Hidden Neurons", AAAI 2019.

    >>> activation_boundary(torch.tensor([[2.0, -0.5]]), torch.tensor([[0.1, 3.0]]))
    tensor(2.2500)
    """
    student, teacher = in_memory_order(*comparable("activation_boundary", student, teacher))
    # The hinge is the distance to the nearest response that will do, a constant to the gradient.
    fixed = student.detach()
    nearest = torch.where(teacher > 0, fixed.clamp(min=margin), fixed.clamp(max=-margin))
    return F.mse_loss(student, nearest, reduction="sum") / len(student)


def partial_l2(
    student: Float[Tensor, "b c *grid"],
    teacher: Float[Tensor, "b c *grid"],
    *,
    margin: Float[Tensor, " c"],
) -> Float[Tensor, ""]:
    """`sum (s - max(t, margin))^2 / B`, without the elements where `s <= max(t, margin) <= 0`.

    The teacher's positive responses are to be matched. Where it has none, the student only needs
    to be no higher than the teacher, or than the channel's margin, a typical negative response.

    Args:
        student: The student's feature, before its ReLU.
        teacher: The teacher's, likewise.
        margin: A number of 0 or less for each channel.

    Source: Heo, Kim, Yun, Park, Kwak and Choi, "A Comprehensive Overhaul of Feature Distillation",
    ICCV 2019.

    >>> student, teacher = torch.tensor([[1.0, 1.0, -9.0]]), torch.tensor([[3.0, -5.0, -5.0]])
    >>> partial_l2(student, teacher, margin=torch.full((3,), -1.0))  # (1 - 3)^2 + (1 + 1)^2 + 0
    tensor(8.)
    """
    student, teacher = comparable("partial_l2", student, teacher)
    bound = margin.to(student).reshape(-1, *(1 for _ in student.shape[2:])).expand_as(student)
    student, teacher, bound = in_memory_order(student, teacher, bound)
    target = torch.maximum(teacher, bound)
    # What does not count is its own target, and so adds neither to the sum nor to a gradient.
    target = torch.where(target > 0, target, torch.minimum(target, student.detach()))
    return F.mse_loss(student, target, reduction="sum") / len(student)


def negative_response(norm: nn.modules.batchnorm._BatchNorm) -> Float[Tensor, " c"]:
    """Expected negative response of each channel of a BatchNorm, `E[x | x < 0]`.

    Its outputs are taken for Gaussian, with its bias as mean and its weight as deviation, 0 and 1
    where it has none.
    """
    one = torch.ones(norm.num_features, dtype=torch.float64)
    mean = 0 * one if norm.bias is None else norm.bias.detach().to(one)
    deviation = one if norm.weight is None else norm.weight.detach().to(one).abs()
    deviation = deviation.clamp(min=1e-12)
    # mean - deviation * density(z) / probability(-z) with z = mean / deviation. The scaled
    # complement of the error function keeps that ratio where both of its terms vanish.
    below = torch.special.erfcx(mean / deviation / math.sqrt(2))
    expected: Tensor = mean - deviation * math.sqrt(2 / math.pi) / below
    return expected.clamp(max=0).to(torch.get_default_dtype())


class AB(FeatureLoss):
    """Activation boundaries: the student is to be active where the teacher is.

    Tap both before their ReLU. The authors weight the level i of n by `2^(i - n)` and the sum by
    3/1000, and train on this loss alone in a first stage.

    Args:
        margin: How far from zero the student's responses should be; positive. The authors use 1.
    """

    directions: ClassVar[tuple[Direction, ...]] = ("traditional", "none")
    because: ClassVar[str] = (
        "its target is the sign of the teacher's response, which gives a projector of the "
        "teacher's feature no gradient, so that it would never be learned"
    )

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        if not 0 < margin < math.inf:
            raise ConfigError(f"AB needs a positive margin, got {margin}.")
        self.margin = margin

    def forward(self, student: Feature, teacher: Feature) -> Scalar:
        """See `activation_boundary`."""
        return activation_boundary(student, teacher, margin=self.margin)


class OFD(FeatureLoss):
    """Partial L2 distance to the teacher's responses before their ReLU.

    The margin of a channel is its expected negative response. Where the teacher's tap is a
    BatchNorm, or a Sequential that ends in one, and its feature is compared as it is or resized,
    the margin follows from that layer's weight and bias and stays. Else it is a running mean of the
    teacher's negative responses as they are compared, over all processes, updated in training
    mode only. The authors give a channel that is hardly ever negative (one in a thousand) three
    deviations below zero; here it has its expected response too.

    Tap both before their ReLU. The authors weight the level i of n by `2^(i - n)`, and the sum by
    1/1000 on CIFAR-100 and by 1/10,000 on ImageNet.

    Args:
        momentum: Share of the newest batch in the running mean; above 0, at most 1.
    """

    margin: Tensor

    def __init__(self, momentum: float = 0.1) -> None:
        super().__init__()
        if not 0 < momentum <= 1:
            raise ConfigError(f"OFD needs a momentum above 0 and at most 1, got {momentum}.")
        self.momentum = momentum
        self.known = False

    def build(
        self, student_width: int, teacher_width: int, teacher: nn.Module | None = None
    ) -> None:
        """Takes the margin from the teacher's BatchNorm, where there is one."""
        norm = teacher
        while isinstance(norm, nn.Sequential) and len(norm) > 0:
            norm = norm[-1]
        self.known = False
        margin = torch.zeros(teacher_width)  # a channel that was not negative yet
        if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.num_features == teacher_width:
            self.known, margin = True, negative_response(norm)
        self.register_buffer("margin", margin)

    def forward(self, student: Feature, teacher: Feature) -> Scalar:
        """See `partial_l2`."""
        student, teacher = comparable("OFD", student, teacher)
        if self.training and not self.known:
            self._learn(teacher.detach())
        return partial_l2(student, teacher, margin=self.margin)

    def _learn(self, teacher: Feature) -> None:
        axes = [axis for axis in range(teacher.ndim) if axis != 1]
        negative = teacher.clamp(max=0)
        parts = torch.stack([negative.sum(axes), (teacher < 0).sum(axes).to(teacher.dtype)])
        total, count = gather(parts[None]).sum(0)
        mean = total / count.clamp(min=1)
        old = self.margin.to(mean.dtype)
        # The first negative responses of a channel count in full, and others are mixed in.
        new = torch.where(old < 0, torch.lerp(old, mean, self.momentum), mean)
        self.margin = torch.where(count > 0, new, old).to(self.margin.dtype)
