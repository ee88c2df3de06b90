"""Losses that have the student's feature, parts of it hidden, generate the teacher's."""

from collections.abc import Callable
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anyteacher.errors import ConfigError
from anyteacher.losses.base import (
    Feature,
    FeatureLoss,
    Form,
    Scalar,
    chosen,
    comparable,
    full_precision,
)
from anyteacher.losses.convolution import convolve, same_size

Mask = Literal["positions", "channels"]


@full_precision
def masked_generation(
    student: Float[Tensor, "b c h w"],
    teacher: Float[Tensor, "b c h w"],
    *,
    hidden: Bool[Tensor, "#b #c #h #w"],
    generate: Callable[[Tensor], Tensor],
) -> Float[Tensor, ""]:
    """`sum (generate(s without what is hidden) - t)^2 / B`.

    Args:
        student: The student's map.
        teacher: The teacher's.
        hidden: What of the student's map is set to zero.
        generate: Makes a map of it that is to be the teacher's.

    Source: Yang, Li, Shao, Shi, Yuan and Yuan, "Masked Generative Distillation", ECCV 2022.

    >>> student, teacher = torch.ones(1, 1, 1, 2), torch.full((1, 1, 1, 2), 3.0)
    >>> hidden = torch.tensor([[[[True, False]]]])
    >>> masked_generation(student, teacher, hidden=hidden, generate=lambda x: 2 * x)  # 3^2 + 1^2
    tensor(10.)
    """
    student, teacher = comparable("masked_generation", student, teacher)
    generated = generate(student.masked_fill(hidden, 0.0))
    return F.mse_loss(generated, teacher, reduction="sum") / len(student)


class MGD(FeatureLoss):
    """Masked generation: from a part of the student's map, two convolutions make the teacher's.

    Two 3x3 convolutions with a ReLU between are learned beside the student. What is hidden is
    drawn anew for each image and each call, in evaluation too.

    The authors hide 0.65 of the positions at weight 2e-5 for detection, 0.75 at 2e-5 for
    segmentation, and 0.15 of the channels at 7e-5 for classification.

    Args:
        ratio: The expected share that is hidden; 0 or more, below 1.
        mask: Whether `positions` or `channels` are hidden.
    """

    form: ClassVar[Form] = "positions"
    because: ClassVar[str] = "it generates the teacher's map from neighbouring positions"

    def __init__(self, ratio: float = 0.65, mask: Mask = "positions") -> None:
        super().__init__()
        if not 0 <= ratio < 1:
            raise ConfigError(f"MGD hides a ratio of 0 or more and less than 1, got {ratio}.")
        self.ratio, self.mask = ratio, chosen("MGD", "mask", mask, get_args(Mask))

    def build(
        self, student_width: int, teacher_width: int, teacher: nn.Module | None = None
    ) -> None:
        """Makes the two convolutions."""
        self.first = same_size(student_width, teacher_width)
        self.second = same_size(teacher_width, teacher_width)

    def forward(self, student: Feature, teacher: Feature) -> Scalar:
        """See `masked_generation`."""
        images, channels, *grid = student.shape
        shape = (images, 1, *grid) if self.mask == "positions" else (images, channels, 1, 1)
        hidden = torch.rand(shape, device=student.device) < self.ratio
        return masked_generation(student, teacher, hidden=hidden, generate=self.generate)

    def generate(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The map that is to be the teacher's."""
        return convolve(convolve(x, self.first).relu(), self.second)
