"""A discriminator of patches: whether each part of a picture looks real."""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import ConfigError


class PatchGAN(nn.Module):
    """One logit for every patch of a picture (Isola et al., "pix2pix", CVPR 2017).

    Convolutions of 4 x 4 pixels: `layers` that halve the grid and two that do not. With three, a
    patch has 70 x 70 pixels; with two 34 x 34, and with one 16 x 16. Each image is normalised by
    itself, so a logit does not depend on the other images of the batch.

    Args:
        channels: of what is looked at.
        width: channels of the first layer; they double with each, up to eight times as many.
        layers: that halve the grid.

    Raises:
        ConfigError: when there is no layer or no channel.
    """

    def __init__(self, channels: int, *, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        if min(channels, width, layers) < 1:
            raise ConfigError(
                "A PatchGAN needs at least one channel, width and layer, got "
                f"{channels}, {width} and {layers}."
            )
        self.least = 3 * 2**layers
        widths = [width * min(2**index, 8) for index in range(layers + 1)]
        stages: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1)]
        for index, (before, after) in enumerate(pairwise(widths)):
            stride = 2 if index < layers - 1 else 1
            stages += [
                nn.LeakyReLU(0.2),
                nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=False),
                nn.InstanceNorm2d(after),
            ]
        stages += [nn.LeakyReLU(0.2), nn.Conv2d(widths[-1], 1, 4, padding=1)]
        self.stages = nn.Sequential(*stages)
        for stage in self.stages:
            if isinstance(stage, nn.Conv2d):
                nn.init.normal_(stage.weight, std=0.02)
                if stage.bias is not None:
                    nn.init.zeros_(stage.bias)

    def forward(self, pictures: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 rows columns"]:
        """The logits of all patches.

        Raises:
            ConfigError: when the pictures are too small for the layers.
        """
        height, width = pictures.shape[-2:]
        if min(height, width) < self.least:
            raise ConfigError(
                f"This PatchGAN needs pictures of {self.least} pixels or more on either side, got "
                f"{height} x {width}. Give it fewer layers, or larger pictures."
            )
        logits: Tensor = self.stages(pictures)
        return logits
