"""Projectors with a nonlinearity."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import ConfigError
from anyteacher.projectors.base import Projector, project


class MLP(Projector):
    """Two matrices with a ReLU between them.

    Args:
        hidden: Width between the two; 0 for the wider of the two sides.
        bias: Whether both layers have a learned offset.
    """

    def __init__(self, hidden: int = 0, bias: bool = True) -> None:
        super().__init__()
        if hidden < 0:
            raise ConfigError(f"MLP needs a hidden width of at least 1, or 0, got {hidden}.")
        self.hidden, self.use_bias = hidden, bias

    def _build(self, in_features: int, out_features: int) -> None:
        hidden = self.hidden or max(in_features, out_features)
        self.first = nn.Linear(in_features, hidden, bias=self.use_bias)
        self.second = nn.Linear(hidden, out_features, bias=self.use_bias)

    def forward(self, x: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *grid"]:
        """The projected feature."""
        hidden = F.relu(project(x, self.first.weight, self.first.bias))
        return project(hidden, self.second.weight, self.second.bias)


class Ensemble(Projector):
    """The mean of several projectors, each one matrix and a ReLU.

    Args:
        count: How many; its authors use 3.

    Source: Chen, Wang, Liu, Xu, de Hoog and Huang, "Improved Feature Distillation via Projector
    Ensemble", NeurIPS 2022.
    """

    def __init__(self, count: int = 3) -> None:
        super().__init__()
        if count < 1:
            raise ConfigError(f"Ensemble needs at least one projector, got {count}.")
        self.count = count

    def _build(self, in_features: int, out_features: int) -> None:
        # One wide layer for all members: the same numbers as separate ones, in a single product.
        self.members = nn.Linear(in_features, self.count * out_features)

    def forward(self, x: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *grid"]:
        """The projected feature."""
        all_members = F.relu(project(x, self.members.weight, self.members.bias))
        return all_members.reshape(len(x), self.count, self.out_features, *x.shape[2:]).mean(1)
