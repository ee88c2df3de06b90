"""A small encoder-decoder for dense tasks, made for 64 x 64 pixels on a CPU."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class EncoderDecoder(nn.Module):
    """Four encoder stages, three decoder stages with skip connections, and a 1 x 1 head.

    The layout is that of U-Net (Ronneberger et al., MICCAI 2015), but the first stage already
    halves the grid and the head's maps are resized to the image: most of the time of a network at
    full resolution goes into layers that see almost nothing of the scene. Works at any height and
    width. Taps: `encoder.0` to `encoder.3` (strides 2, 4, 8, 16), `decoder.0` to `decoder.2`
    (strides 8, 4, 2), `head`.

    Args:
        out_channels: channels of the output, as the task asks for.
        width: channels of the first stage; the others have 2, 4 and 6 times as many. Multiples
            of 16 are the fastest.
        in_channels: channels of the images.
        bias: what the untrained head gives everywhere, nearly. For a task in log-depth, the log of
            a typical depth: `math.log(3)` is a room.
    """

    def __init__(
        self, out_channels: int, *, width: int = 16, in_channels: int = 3, bias: float = 0.0
    ) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 6 * width]
        self.encoder = nn.ModuleList(
            nn.Sequential(*_convolution(before, after, stride=2), *_convolution(after, after))
            for before, after in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.narrow = nn.ModuleList(
            nn.Conv2d(deep, skip, 1, bias=False)
            for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.decoder = nn.ModuleList(
            nn.Sequential(*_convolution(skip, skip)) for skip in widths[-2::-1]
        )
        self.head = nn.Conv2d(width, out_channels, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.constant_(self.head.bias, bias)  # type: ignore[arg-type]

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out h w"]:
        """The output at the size of the images."""
        # Channels-last maps make the convolutions faster by a quarter on a CPU. The weights keep
        # their usual order, which file formats ask for.
        x, skips = images.contiguous(memory_format=torch.channels_last), []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        for narrow, stage, skip in zip(self.narrow, self.decoder, skips[-2::-1], strict=True):
            x = stage(F.interpolate(narrow(x), size=skip.shape[-2:], mode="nearest") + skip)
        size = images.shape[-2:]
        return F.interpolate(self.head(x), size=size, mode="bilinear", align_corners=False)


def _convolution(before: int, after: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    ]
