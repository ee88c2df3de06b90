"""A teacher that sees more than the student: where the student's view lies in what it sees."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError
from anyteacher.layout import Resize, Size


class Window(NamedTuple):
    """The student's view in a teacher's images, in their pixels before any resizing.

    Attributes:
        top: Rows above it.
        left: Columns to the left of it.
        height: Its rows.
        width: Its columns.
    """

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def middle(cls, size: Size, margin: int) -> "Window":
        """What is left of an image of this size without so many pixels on every side.

        Raises:
            ConfigError: when that is nothing.
        """
        height, width = size[0] - 2 * margin, size[1] - 2 * margin
        if margin < 0 or min(height, width) < 1:
            raise ConfigError(
                f"A margin of {margin} pixels on each side leaves nothing of images of "
                f"{size[0]} x {size[1]}. Give 0 or more, and less than half of the shorter side."
            )
        return cls(margin, margin, height, width)

    def crop(self, images: Tensor) -> Tensor:
        """The view itself, of anything whose last two axes are rows and columns."""
        rows = slice(self.top, self.top + self.height)
        return images[..., rows, self.left : self.left + self.width]

    def crop_all(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A batch with all that belongs to the pixels of its `image` cropped."""
        size = batch["image"].shape[-2:]
        return {
            key: self.crop(value) if value.ndim > 2 and value.shape[-2:] == size else value
            for key, value in batch.items()
        }

    def part_of(self, size: Size) -> "Part":
        """Where it lies in images of this size, as shares of their height and width.

        Raises:
            ConfigError: when it does not lie inside.
        """
        bottom, right = self.top + self.height, self.left + self.width
        inside = min(self.top, self.left) >= 0 and bottom <= size[0] and right <= size[1]
        if not inside or min(self.height, self.width) < 1:
            raise ConfigError(
                f"{self} does not lie inside of the teacher's images of {size[0]} x {size[1]}. A "
                "window is counted in pixels of teacher_images."
            )
        return Part(self.top / size[0], self.left / size[1], bottom / size[0], right / size[1])


class Seen(NamedTuple):
    """What a step shows: the student's images, and the teachers' where those are others.

    Attributes:
        student: The student's images.
        teacher: What the teachers see; None for the same.
        window: Where the student's view lies in it; None likewise.
    """

    student: Tensor
    teacher: Tensor | None = None
    window: Window | None = None

    def for_teachers(self) -> dict[str, Any]:
        """What a distiller is told of it."""
        return {"teacher_images": self.teacher, "window": self.window}

    def of(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What of a batch belongs to the student's images."""
        return dict(batch) if self.window is None else self.window.crop_all(batch)


def seen_by(images: Float[Tensor, "b c h w"], margin: int) -> Seen:
    """The middle of the images for the student, all of them for the teachers.

    Args:
        images: What there is to see.
        margin: Pixels on each side that the teachers alone see; at 0 all see the same.

    Raises:
        ConfigError: when the margin leaves nothing to the student.
    """
    if margin == 0:
        return Seen(images)
    window = Window.middle((images.shape[2], images.shape[3]), margin)
    return Seen(window.crop(images), images, window)


class Part(NamedTuple):
    """A part of an image as shares of its height (top, bottom) and width (left, right)."""

    top: float
    left: float
    bottom: float
    right: float


def cut(
    feature: Float[Tensor, "b c h w"],
    part: Part,
    grid: Size | None = None,
    *,
    resize: Resize = "auto",
) -> Float[Tensor, "b c i j"]:
    """The part of a map, on a grid that is laid over that part exactly.

    The borders of the part need not fall between positions of the map. `pool` averages over the
    area of each new position, in proportion to what of every old one lies in it; `bilinear`
    interpolates between the centres, beyond the part's border too.

    Args:
        feature: The map of the whole image.
        part: Which part of the image.
        grid: Rows and columns of what is returned; None for about those that the part has.
        resize: `pool`, `bilinear`, or `auto` for pooling where the grid shrinks along both axes.
    """
    rows, columns = feature.shape[2:]
    ends = (part.top * rows, part.bottom * rows), (part.left * columns, part.right * columns)
    spans = [end - start for start, end in ends]
    height, width = grid or (max(1, round(spans[0])), max(1, round(spans[1])))
    # Rounding aside: a part of 6 of 8 rows has 6 rows.
    pool = resize == "pool" or (
        resize == "auto" and height <= spans[0] + 1e-6 and width <= spans[1] + 1e-6
    )
    down, across = (
        _weights(start, end, count, new, feature, pool=pool)
        for (start, end), count, new in zip(ends, (rows, columns), (height, width), strict=True)
    )
    with torch.autocast(feature.device.type, enabled=False):
        return torch.einsum("ih,bchw,jw->bcij", down, feature, across)


def _weights(
    start: float, end: float, count: int, new: int, like: Tensor, *, pool: bool
) -> Float[Tensor, "new count"]:
    """How much of each old position goes into each new one, along one axis."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    step = (end - start) / new
    old = torch.arange(count, dtype=dtype, device=like.device)[None]
    first = start + step * torch.arange(new, dtype=dtype, device=like.device)[:, None]
    if pool:
        upper, lower = torch.minimum(first + step, old + 1), torch.maximum(first, old)
        weights = (upper - lower).clamp(min=0) / step
    else:
        centre = (first + step / 2 - 0.5).clamp(0, count - 1)
        weights = (1 - (centre - old).abs()).clamp(min=0)
    return weights.to(like.dtype)
