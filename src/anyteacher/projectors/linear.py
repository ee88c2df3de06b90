"""Projectors that are one matrix, whole or bounded."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.projectors.base import Projector, project


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

    def affine(self) -> tuple[Float[Tensor, "d c"], Float[Tensor, " d"] | None]:
        """The matrix and its offset."""
        return self.linear.weight, self.linear.bias


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
        # Half precision has no such product.
        dtype = torch.promote_types(self.reflectors.dtype, torch.float32)
        below = self.reflectors.to(dtype).tril(-1)
        product = torch.linalg.householder_product(below, 2 / (1 + below.square().sum(0)))
        tall: Tensor = product.to(self.reflectors.dtype)
        return tall if self.out_features >= self.in_features else tall.T

    def forward(self, x: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *grid"]:
        """The projected feature."""
        return project(x, self.weight)

    def affine(self) -> tuple[Float[Tensor, "d c"], Float[Tensor, " d"] | None]:
        """The matrix."""
        return self.weight, None


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

    def affine(self) -> tuple[Float[Tensor, "d c"], Float[Tensor, " d"] | None]:
        """The product of the two, and its offset."""
        return self.up.weight @ self.down.weight, self.up.bias


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

    def affine(self) -> tuple[Float[Tensor, "d c"], Float[Tensor, " d"] | None]:
        """The identity matrix, in the default precision."""
        return torch.eye(self.out_features), None
