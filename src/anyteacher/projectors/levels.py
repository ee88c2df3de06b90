"""Projectors that see several levels of a side at once."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.projectors.base import LevelProjector

_WIDEST = 512


class ABF(LevelProjector):
    """Attention-based fusion: each level is mixed with what the deeper ones gave.

    From the deepest level to the shallowest: a 1x1 convolution brings the level to an inner width;
    the deeper level's mixture is resized to its grid; two maps of attention, from both of them,
    weigh their sum; and a 3x3 convolution brings this mixture to the level's output width. Both
    convolutions are followed by batch normalisation. The deepest level has nothing to be mixed
    with, and neither has a single one.

    Any grids will do; a vector counts as a map of one position. Under data parallelism each process
    normalises its own part of the batch, unless `torch.nn.SyncBatchNorm` takes over.

    Args:
        width: The inner width; 0 for the deepest level's input width, 512 at most, as its authors
            have it.

    Source: Chen, Liu, Zhao and Jia, "Distilling Knowledge via Knowledge Review", CVPR 2021, which
    projects the student (direction `traditional`) and compares with `losses.HCL`. There a map is
    resized to the teacher's grid between the two convolutions; here the link has matched the grids
    before.
    """

    def __init__(self, width: int = 0) -> None:
        super().__init__()
        if width < 0:
            raise ConfigError(f"ABF needs a width of at least 1, or 0, got {width}.")
        self.width = width

    def build(self, in_features: Sequence[int], out_features: Sequence[int]) -> None:
        """Makes the parameters, once the widths of all levels are known."""
        width = self.width or min(_WIDEST, in_features[-1])
        self.inner = nn.ModuleList(_convolution(before, width, 1) for before in in_features)
        self.attention = nn.ModuleList(nn.Conv2d(2 * width, 2, 1) for _ in in_features[1:])
        self.outer = nn.ModuleList(_convolution(width, after, 3) for after in out_features)

    def forward(self, levels: Sequence[Float[Tensor, "b _ *_"]]) -> list[Tensor]:
        """The projected features, one a level, each on its own grid.

        Raises:
            LayoutError: in training, where a level of the batch is one position of one image.
        """
        maps = [x if x.ndim == 4 else x[:, :, None, None] for x in levels]
        if self.training:
            self._check(maps)
        projected = []
        deepest = len(maps) - 1
        mixture = maps[-1]
        for level in range(deepest, -1, -1):
            x = self.inner[level](maps[level])
            if level < deepest:
                deeper = F.interpolate(mixture, x.shape[2:], mode="nearest")
                weights = self.attention[level](torch.cat([x, deeper], 1)).sigmoid()
                x = weights[:, :1] * x + weights[:, 1:] * deeper
            mixture = x
            y = self.outer[level](x)
            projected.append(y if levels[level].ndim == 4 else y.flatten(1))
        return projected[::-1]

    @staticmethod
    def _check(maps: Sequence[Tensor]) -> None:
        for x in maps:
            if len(x) * x.shape[2] * x.shape[3] == 1:
                raise LayoutError(
                    "ABF normalises over the batch while it trains, and one image with a feature "
                    f"of shape {tuple(x.shape)} has one value a channel. Use two images or more."
                )


def _convolution(before: int, after: int, size: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, size, padding=size // 2, bias=False)
    nn.init.kaiming_uniform_(convolution.weight, a=1)  # as its authors start it
    return nn.Sequential(convolution, nn.BatchNorm2d(after))
