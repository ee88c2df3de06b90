"""A small convolutional classifier for pictures as small as 8 x 8."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class ConvNet(nn.Module):
    """Three stages (or as many as there are widths), average pooling and a linear head.

    Every stage after the first halves the grid: 8, 4 and 2 pixels for a digit of 8 x 8.
    Taps: `stages.0`, `stages.1`, … (maps), `pool` (a vector), `head` (the logits).

    Args:
        classes: number of logits.
        in_channels: channels of the images.
        widths: channels of each stage.
    """

    def __init__(
        self, classes: int, *, in_channels: int = 1, widths: Sequence[int] = (16, 32, 64)
    ) -> None:
        super().__init__()
        inputs = [in_channels, *widths[:-1]]
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=2 if index else 1, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            )
            for index, (before, after) in enumerate(zip(inputs, widths, strict=True))
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Logits."""
        x = images
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.head(self.pool(x))
        return logits
