"""What a link adds to the task's loss."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class Objective(nn.Module, ABC):
    """A loss between two features, or a regulariser of one: see `losses` and `regularizers`."""

    @abstractmethod
    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The loss as a 0-dim tensor, in single precision or better."""
