"""What every feature loss has in common."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import LayoutError

Feature = Float[Tensor, "b c *grid"]
Scalar = Float[Tensor, ""]


class FeatureLoss(nn.Module, ABC):
    """A loss between two features of the same shape, maps (B, C, H, W) or vectors (B, C).

    The loss does not know which side was projected: that is what makes any of them a cross-task
    loss. A final subclass stores hyperparameters and calls a pure function of its own file. The
    teacher's side comes without its history, unless a projector on that side is being learned.
    """

    @abstractmethod
    def forward(self, student: Feature, teacher: Feature) -> Scalar:
        """The loss as a 0-dim tensor, in single precision or better."""


def comparable(name: str, student: Feature, teacher: Feature) -> tuple[Tensor, Tensor]:
    """Both features in a precision that sums safely, once it is known that they can be compared.

    Raises:
        LayoutError: when their shapes differ, or there is nothing to average over.
    """
    if student.shape != teacher.shape:
        raise LayoutError(
            f"{name} compares features of one shape, got {tuple(student.shape)} from the student "
            f"and {tuple(teacher.shape)} from the teacher. A link with a projector matches them."
        )
    if student.numel() == 0:
        raise LayoutError(f"{name} has no rows to compare: the shape is {tuple(student.shape)}.")
    dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    return student.to(dtype), teacher.to(dtype)
