"""Projectors: from the width of one side of a link to the width of the other.

A projector acts on the channels of a map (B, C, H, W) or a vector (B, C) and leaves the positions
alone. It is written without sizes; the distiller finds them and calls `build`.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import ConfigError, LayoutError


def project(
    x: Float[Tensor, "b c *grid"],
    weight: Float[Tensor, "d c"],
    bias: Float[Tensor, " d"] | None = None,
) -> Float[Tensor, "b d *grid"]:
    """A linear map along the channels of a map or vector: a 1x1 convolution on maps."""
    if x.ndim == 2:
        return F.linear(x, weight, bias)
    if x.stride(1) == 1 and x.shape[1] > 1:
        # Tokens and channels-last maps: the channels lie together, one matrix product is best.
        return F.linear(x.movedim(1, -1), weight, bias).movedim(-1, 1)
    return F.conv2d(x, weight[:, :, None, None], bias)


class Projector(nn.Module, ABC):
    """Maps features of `in_features` channels to `out_features` channels.

    A final subclass makes its parameters in `build` and applies them in `forward`.
    """

    in_features: int = 0
    out_features: int = 0

    def build(self, in_features: int, out_features: int) -> None:
        """Makes the parameters, once the sizes are known.

        Raises:
            LayoutError: when this projector cannot join these widths.
        """
        self.in_features, self.out_features = in_features, out_features
        self._build(in_features, out_features)

    @abstractmethod
    def _build(self, in_features: int, out_features: int) -> None: ...

    @abstractmethod
    def forward(self, x: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *grid"]:
        """The projected feature, same positions, `out_features` channels."""

    def extra_repr(self) -> str:
        """The sizes, for printing."""
        return f"{self.in_features} -> {self.out_features}"


class Linear(Projector):
    """One matrix: a 1x1 convolution on maps, a fully connected layer on vectors.

    Args:
        bias: Whether to add a learned offset.
    """

    def __init__(self, bias: bool = False) -> None:
        super().__init__()
        self.use_bias = bias

    def _build(self, in_features: int, out_features: int) -> None:
        self.linear = nn.Linear(in_features, out_features, bias=self.use_bias)

    def forward(self, x: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *grid"]:
        """The projected feature."""
        return project(x, self.linear.weight, self.linear.bias)


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


class Orthogonal(Projector):
    """One matrix with orthonormal rows (or columns, where it widens), without a bias.

    It keeps distances when it widens and cannot rescale or whiten.

    Source: Miles, Elezi and Deng, "VkD: Improving Knowledge Distillation using Orthogonal
    Projections", CVPR 2024.
    """

    def _build(self, in_features: int, out_features: int) -> None:
        shape = max(in_features, out_features), min(in_features, out_features)
        # The factorisation of a Gaussian matrix: a start that prefers no direction.
        self.reflectors = nn.Parameter(torch.geqrf(torch.randn(shape)).a.tril(-1))

    @property
    def weight(self) -> Float[Tensor, "d c"]:
        """The matrix: a product of Householder reflections, orthonormal whatever they are."""
        # torch.nn.utils.parametrizations.orthogonal would keep signs among the parameters, where
        # weight decay turns them to zeros and the matrix with them.
        below = self.reflectors.tril(-1)
        tall: Tensor = torch.linalg.householder_product(below, 2 / (1 + below.square().sum(0)))
        return tall if self.out_features >= self.in_features else tall.T

    def forward(self, x: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *grid"]:
        """The projected feature."""
        return project(x, self.weight)


class LowRank(Projector):
    """A matrix of bounded rank, learned as the product of two thin ones.

    Args:
        rank: The most directions that pass; at least 1 and at most the narrower side's width.
        bias: Whether to add a learned offset.
    """

    def __init__(self, rank: int, bias: bool = False) -> None:
        super().__init__()
        if rank < 1:
            raise ConfigError(f"LowRank needs a rank of at least 1, got {rank}.")
        self.rank, self.use_bias = rank, bias

    def _build(self, in_features: int, out_features: int) -> None:
        if self.rank > min(in_features, out_features):
            raise LayoutError(
                f"LowRank of rank {self.rank} between widths {in_features} and {out_features} "
                f"bounds nothing: give a rank of at most {min(in_features, out_features)}."
            )
        self.down = nn.Linear(in_features, self.rank, bias=False)
        self.up = nn.Linear(self.rank, out_features, bias=self.use_bias)

    def forward(self, x: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *grid"]:
        """The projected feature."""
        return project(project(x, self.down.weight), self.up.weight, self.up.bias)


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


class Identity(Projector):
    """No projection: both sides must have the same width."""

    def _build(self, in_features: int, out_features: int) -> None:
        if in_features != out_features:
            raise LayoutError(
                f"Without a projector both sides need the same width, got {in_features} and "
                f"{out_features}. Use projectors.Linear(), or a loss that allows unequal widths."
            )

    def forward(self, x: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *grid"]:
        """The feature as it is."""
        return x
