"""What projectors have in common.

A projector acts on the channels of a map (B, C, H, W) or a vector (B, C) and leaves the positions
alone. It is written without sizes; the link finds them and calls `build`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import ConfigError
from anyteacher.spectral import Moments, Projected

_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def project(
    x: Float[Tensor, "b c *grid"],
    weight: Float[Tensor, "d c"],
    bias: Float[Tensor, " d"] | None = None,
) -> Float[Tensor, "b d *grid"]:
    """A linear map along the channels of a map or vector: a 1x1 convolution on maps."""
    if x.ndim == 2:
        return F.linear(x, weight, bias)
    if x.stride(1) == 1 and x.shape[1] > 1 and not _convolves_well(x):
        # Tokens and channels-last maps: the channels lie together, one matrix product is best.
        return F.linear(x.movedim(1, -1), weight, bias).movedim(-1, 1)
    return F.conv2d(x, weight[:, :, None, None], bias)


def _convolves_well(x: Tensor) -> bool:
    # On a CPU oneDNN's convolution takes the channels last as they are. The product comes from
    # another library, and has been seen to take twice as long on processors of another maker.
    return _ONEDNN and x.device.type == "cpu" and x.dtype == torch.float32


class Projector(nn.Module, ABC):
    """Maps features of `in_features` channels to `out_features` channels.

    A final subclass makes its parameters in `build` and applies them in `forward`. A linear one
    overrides `affine` too, so that its links can be decomposed.

    Attributes:
        directions: In which directions of projection it has a meaning.
        because: Why not in the other, for the message.
        fitted: Whether `forward` takes what its output is compared with as a second argument, and
            fits to it.
        batchwise: Whether it is another one for every batch, and `affine_over` depends on the rows.
    """

    directions: ClassVar[tuple[Projected, ...]] = ("inverted", "traditional")
    because: ClassVar[str] = ""
    fitted: ClassVar[bool] = False
    batchwise: bool = False

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

    def towards(
        self, x: Float[Tensor, "b c *grid"], target: Float[Tensor, "b _ *_"]
    ) -> Float[Tensor, "b d *grid"]:
        """The projected feature, fitted to what it is compared with where the projector does that.

        Args:
            x: The feature to project.
            target: What it is compared with.
        """
        projected: Tensor = self(x, target) if self.fitted else self(x)
        return projected

    def affine(self) -> tuple[Float[Tensor, "d c"], Float[Tensor, " d"] | None]:
        """The projector as one matrix and an offset; overridden by those that are linear.

        Raises:
            ConfigError: for a projector that is not linear.
        """
        raise ConfigError(
            f"{type(self).__name__} is no linear projector: it has no singular values, and a loss "
            "with it no decomposition. Use projectors.Linear(), LowRank or another linear one."
        )

    def affine_over(
        self, moments: Moments
    ) -> tuple[Float[Tensor, "d c"], Float[Tensor, " d"] | None]:
        """`affine`, for rows that are known by their moments where it depends on them.

        Args:
            moments: Of the features on both sides of the link.
        """
        return self.affine()

    @property
    def is_linear(self) -> bool:
        """Whether the projector is one matrix, and an offset where it has one."""
        return type(self).affine is not Projector.affine

    def extra_repr(self) -> str:
        """The sizes, for printing."""
        return f"{self.in_features} -> {self.out_features}"


class LevelProjector(nn.Module, ABC):
    """Maps the features of several levels at once, the shallowest first, each to its own width."""

    @abstractmethod
    def build(self, in_features: Sequence[int], out_features: Sequence[int]) -> None:
        """Makes the parameters, once the widths of all levels are known."""

    @abstractmethod
    def forward(self, levels: Sequence[Float[Tensor, "b _ *_"]]) -> list[Tensor]:
        """The projected features, one a level."""
