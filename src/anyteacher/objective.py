"""What a link adds to the task's loss."""

from abc import ABC

from torch import nn


class Objective(nn.Module, ABC):
    """A loss between two features, or a regulariser of one: see `losses` and `regularizers`."""
