"""What makes a student's raw output the final one of its task: metres, probabilities, colours.

A task's `prediction` uses it, and so does a student that has left training (`student.py`). It needs
torch and nothing of training.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# Below this length an output has no direction to speak of; it bounds the gradient there.
_LEAST = 1e-4


def resize(
    maps: Float[Tensor, "b c h w"], size: tuple[int, int]
) -> Float[Tensor, "b c height width"]:
    """Bilinear resize with pixel centres aligned; the same tensor when the size is right."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Readout(ABC):
    """From a raw output to the final one, in float32 at least.

    Attributes:
        meaning: What the final output holds, in a sentence for whoever gets the file.
    """

    meaning: ClassVar[str]

    @abstractmethod
    def __call__(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """The final output.

        Args:
            output: (B, C, h, w) of any size for a dense task, (B, C) for a global one.
            size: Height and width that a dense one is wanted at.
        """


@final
@dataclass(frozen=True)
class Metres(Readout):
    """Depth in metres, clamped to [min_depth, max_depth].

    Attributes:
        output_is: What the output means: `log`, log-depth, which is resized as it is; or `depth`.
        min_depth: In metres.
        max_depth: In metres.
    """

    meaning: ClassVar[str] = "depth in metres, (batch, 1, height, width)"
    output_is: Literal["log", "depth"]
    min_depth: float
    max_depth: float

    def __call__(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """Depth, (B, 1, H, W)."""
        maps = resize(_precise(output), size)
        depth = maps.exp() if self.output_is == "log" else maps
        # ONNX's exporter does not take a whole number beside one with a fraction.
        return depth.clamp(float(self.min_depth), float(self.max_depth))


@final
@dataclass(frozen=True)
class PixelClasses(Readout):
    """The probability of each class at each pixel."""

    meaning: ClassVar[str] = (
        "the probability of each class at each pixel, (batch, classes, height, width); the label "
        "is the argmax over classes"
    )

    def __call__(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """Probabilities that sum to 1 over the classes, (B, classes, H, W)."""
        return resize(_precise(output), size).softmax(1)


@final
@dataclass(frozen=True)
class Classes(Readout):
    """The probability of each class."""

    meaning: ClassVar[str] = "the probability of each class, (batch, classes), which sum to 1"

    def __call__(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """Probabilities that sum to 1, (B, classes)."""
        del size
        return _precise(output).softmax(1)


@final
@dataclass(frozen=True)
class Presences(Readout):
    """The probability that each class is there, each by itself."""

    meaning: ClassVar[str] = "the probability that each class is in the image, (batch, classes)"

    def __call__(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """Probabilities, (B, classes)."""
        del size
        return _precise(output).sigmoid()


@final
@dataclass(frozen=True)
class EdgeProbability(Readout):
    """The probability of an edge at each pixel."""

    meaning: ClassVar[str] = "the probability of an edge at each pixel, (batch, 1, height, width)"

    def __call__(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """Probabilities, (B, 1, H, W)."""
        return resize(_precise(output), size).sigmoid()


@final
@dataclass(frozen=True)
class Directions(Readout):
    """Vectors of unit length."""

    meaning: ClassVar[str] = (
        "surface normals, (batch, 3, height, width): unit vectors, x to the right, y down, z "
        "forward"
    )

    def __call__(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """Unit vectors, (B, 3, H, W)."""
        return F.normalize(resize(_precise(output), size), eps=_LEAST)


@final
@dataclass(frozen=True)
class Colors(Readout):
    """A picture.

    Attributes:
        logits: Whether the output is logits of colours, resized as they are; else colours.
    """

    meaning: ClassVar[str] = "a picture, (batch, 3, height, width): RGB in [0, 1]"

    logits: bool = False

    def __call__(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """Colours in [0, 1], (B, 3, H, W)."""
        maps = resize(_precise(output), size)
        return maps.sigmoid() if self.logits else maps.clamp(0.0, 1.0)


def _precise(output: Tensor) -> Tensor:
    return output.to(torch.promote_types(output.dtype, torch.float32))
