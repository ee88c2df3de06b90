"""Feature layouts: how the tensor behind a tap is laid out, and how two of them are compared.

Models disagree on how a feature is stored: maps (B, C, H, W), channels-last maps (B, H, W, C),
tokens (B, N, C) with or without class and register tokens in front, vectors (B, C). Every reshape
and resize of the library happens here; losses and projectors see maps (B, C, H, W) or vectors
(B, C) and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import LayoutError, did_you_mean

Kind = Literal["map", "channels_last", "tokens", "vector"]
Compare = Literal["positions", "pooled"]
Grid = Literal["student", "teacher"]
Resize = Literal["auto", "pool", "bilinear"]
Size = tuple[int, int]

# Class and register tokens in front of the patches: DINOv2 with registers has 5, some models 8.
_MAX_PREFIX = 8
_DIMS = {"map": 4, "channels_last": 4, "tokens": 3, "vector": 2}


@dataclass(frozen=True)
class Layout:
    """How a feature tensor is laid out.

    Args:
        kind: `map` (B, C, H, W), `channels_last` (B, H, W, C), `tokens` (B, N, C) or
            `vector` (B, C).
        prefix: Tokens only: how many class and register tokens stand before the patch tokens.
        grid: Tokens only: rows and columns of the patches, or None to find them from the number
            of patches and the size of the image.
    """

    kind: Kind
    prefix: int = 0
    grid: Size | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise LayoutError(f"Unknown layout '{self.kind}'. {did_you_mean(self.kind, _DIMS)}")
        if self.prefix < 0:
            raise LayoutError(f"A layout's prefix counts tokens; {self.prefix} is negative.")
        if self.kind != "tokens" and (self.prefix or self.grid is not None):
            raise LayoutError(f"Only tokens have a prefix or a grid to state, not '{self.kind}'.")


def detect(shape: Sequence[int], image_size: Size) -> Layout:
    """The layout of a feature of this shape, given the (height, width) of the model's input.

    A 4-D feature is a channels-last map only where its last two axes cannot be the grid of such
    an image and its middle axes can. Of a 3-D feature, the fewest leading tokens are taken for
    class and register tokens that leave a grid of the image's proportions.

    >>> detect((2, 256, 8, 8), (64, 64)).kind, detect((2, 7, 7, 768), (224, 224)).kind
    ('map', 'channels_last')
    >>> detect((2, 201, 384), (224, 224))
    Layout(kind='tokens', prefix=5, grid=(14, 14))

    Raises:
        LayoutError: when the shape has neither two, three nor four axes.
    """
    if len(shape) == 2:
        return Layout("vector")
    if len(shape) == 3:
        found = _find_prefix(shape[1], image_size)
        return Layout("tokens") if found is None else Layout("tokens", found[0], found[1])
    if len(shape) == 4:
        last = _plausible((shape[2], shape[3]), image_size)
        middle = _plausible((shape[1], shape[2]), image_size)
        return Layout("channels_last" if middle and not last else "map")
    raise LayoutError(
        f"A feature of shape {tuple(shape)} is neither a map (B, C, H, W) or (B, H, W, C), nor "
        "tokens (B, N, C), nor a vector (B, C). Tap another module, or an item of its output."
    )


def _plausible(grid: Size, image_size: Size) -> bool:
    """Whether one stride along both axes takes the image to this grid (rounded down or up)."""
    return any(
        grid in (_grid_at(image_size, stride, up=False), _grid_at(image_size, stride, up=True))
        for stride in range(1, max(image_size) + 1)
    )


def _grid_at(image_size: Size, stride: int, *, up: bool) -> Size:
    height, width = image_size
    if up:
        return -(-height // stride), -(-width // stride)
    return max(1, height // stride), max(1, width // stride)


def _find_prefix(tokens: int, image_size: Size) -> tuple[int, Size] | None:
    """The fewest leading tokens that leave a grid; strides that divide the image are preferred."""
    height, width = image_size
    strides = range(1, max(image_size) + 1)
    exact = [s for s in strides if height % s == 0 and width % s == 0]
    for candidates, up in ((exact, False), (strides, False), (strides, True)):
        grids = {
            h * w: (h, w)
            for h, w in (_grid_at(image_size, stride, up=up) for stride in reversed(candidates))
        }
        for prefix in range(min(_MAX_PREFIX, tokens - 1) + 1):
            if tokens - prefix in grids:
                return prefix, grids[tokens - prefix]
    return None


def check(feature: Tensor, layout: Layout, name: str) -> None:
    """Refuses a tensor that cannot have this layout.

    Raises:
        LayoutError: naming the feature, its shape and the layout.
    """
    if feature.ndim != _DIMS[layout.kind]:
        raise LayoutError(
            f"{name} has shape {tuple(feature.shape)}: not a {layout.kind} feature, which has "
            f"{_DIMS[layout.kind]} axes. Leave the layout out to have it found, or state another."
        )


def channels(shape: Sequence[int], layout: Layout) -> int:
    """The number of channels of a feature of this shape."""
    return shape[1] if layout.kind == "map" else shape[-1]


def to_map(feature: Tensor, layout: Layout, image_size: Size) -> Float[Tensor, "b c h w"]:
    """A spatial feature as a map; class and register tokens are left out.

    Tokens without a grid become one column, (B, C, N, 1): they can still be compared one by one.

    Args:
        feature: The tensor behind the tap.
        layout: Its layout; a vector has no positions and is refused.
        image_size: Height and width of the model's input, from which a token grid is found when
            the number of tokens is not that of the layout's own grid.

    Raises:
        LayoutError: for a vector, or tokens that do not fill the grid.
    """
    if layout.kind == "map":
        return feature
    if layout.kind == "channels_last":
        return feature.permute(0, 3, 1, 2)
    if layout.kind == "vector":
        raise LayoutError(
            f"A vector of shape {tuple(feature.shape)} has no positions to compare. "
            'Use compare="pooled" in the link, or tap an earlier module.'
        )
    patches = feature[:, layout.prefix :]
    grid = _token_grid(patches.shape[1], layout, image_size)
    return patches.transpose(1, 2).reshape(len(patches), -1, *grid)


def _token_grid(count: int, layout: Layout, image_size: Size) -> Size:
    if layout.grid is None:
        return count, 1
    if layout.grid[0] * layout.grid[1] == count:
        return layout.grid
    found = _find_prefix(count, image_size)
    if found is None or found[0] != 0:
        raise LayoutError(
            f"{count} patch tokens (after {layout.prefix} leading ones) fill no grid of an image "
            f"of {image_size[0]} x {image_size[1]}. State it: Layout('tokens', prefix=…, grid=…)."
        )
    return found[1]


def to_vector(feature: Tensor, layout: Layout) -> Float[Tensor, "b c"]:
    """The mean over positions, one row an image; class and register tokens are left out."""
    if layout.kind == "map":
        return feature.mean((2, 3))
    if layout.kind == "channels_last":
        return feature.mean((1, 2))
    if layout.kind == "tokens":
        return feature[:, layout.prefix :].mean(1)
    return feature


def to_rows(feature: Float[Tensor, "b c *grid"]) -> Float[Tensor, "n c"]:
    """A map or vector as a feature matrix, one row for each position or image."""
    return feature.movedim(1, -1).flatten(0, -2)


def match_grids(
    student: Float[Tensor, "b c h w"],
    teacher: Float[Tensor, "b d i j"],
    *,
    to: Grid = "student",
    resize: Resize = "auto",
) -> tuple[Float[Tensor, "b c p q"], Float[Tensor, "b d p q"]]:
    """Brings two maps to one grid.

    Args:
        student: The student's map.
        teacher: The teacher's map.
        to: The side whose grid is kept.
        resize: `pool` averages over the area of each new position, `bilinear` interpolates,
            `auto` pools where the grid shrinks along both axes and interpolates otherwise.
    """
    if student.shape[2:] == teacher.shape[2:]:
        return student, teacher
    if to == "student":
        return student, _resize(teacher, (student.shape[2], student.shape[3]), resize)
    return _resize(student, (teacher.shape[2], teacher.shape[3]), resize), teacher


def _resize(x: Float[Tensor, "b c h w"], size: Size, how: Resize) -> Float[Tensor, "b c i j"]:
    shrinks = size[0] <= x.shape[2] and size[1] <= x.shape[3]
    if how == "pool" or (how == "auto" and shrinks):
        return F.adaptive_avg_pool2d(x, size)
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
