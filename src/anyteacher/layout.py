"""Feature layouts: how the tensor behind a tap is laid out, and how two of them are compared.

Models disagree on how a feature is stored: maps (B, C, H, W), channels-last maps (B, H, W, C),
tokens (B, N, C) with or without class and register tokens in front, vectors (B, C). Every reshape
and resize of the library happens here; losses and projectors see maps (B, C, H, W) or vectors
(B, C) and nothing else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import LayoutError, did_you_mean

Kind = Literal["map", "channels_last", "tokens", "vector"]
Compare = Literal["positions", "pooled"]
Grid = Literal["student", "teacher"]
Resize = Literal["auto", "pool", "bilinear"]
Size = tuple[int, int]
_Rounding = Literal["exact", "down", "up"]
_ROUNDINGS: tuple[_Rounding, ...] = get_args(_Rounding)

# How many class, distillation and register tokens stand before the patches: the usual numbers
# first (none; a class token; DeiT's two; DINOv2's class and four registers; four registers alone).
_PREFIXES = (0, 1, 2, 5, 4, 3, 6, 7, 8)
_USUAL = 5
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


def detect(shape: Sequence[int], image_size: Size, module: nn.Module | None = None) -> Layout:
    """The layout of a feature of this shape, given the (height, width) of the model's input.

    A 4-D feature is a channels-last map where its last two axes cannot be the grid of such an
    image and its middle axes can. Where both can, the layers of the module that gave it tell: one
    that mixes its last axis alone (linear layers, layer normalisation) gives a channels-last map.

    Of a 3-D feature, so many leading tokens are taken for class and register tokens that the rest
    fill a grid of the image's proportions: the usual numbers (0, 1, 2, 5, 4) before others,
    strides that divide the image before others.

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
        by_shape = middle and not last
        by_layers = middle and module is not None and _mixes_last_axis(module, shape)
        return Layout("channels_last" if by_shape or by_layers else "map")
    raise LayoutError(
        f"A feature of shape {tuple(shape)} is neither a map (B, C, H, W) or (B, H, W, C), nor "
        "tokens (B, N, C), nor a vector (B, C). Tap another module, or an item of its output."
    )


def _mixes_last_axis(module: nn.Module, shape: Sequence[int]) -> bool:
    """Whether layers of the last axis' width are there, and none of the second's over a grid."""
    layers = list(module.modules())
    last = any(
        (isinstance(layer, nn.Linear) and layer.out_features == shape[3])
        or (isinstance(layer, nn.LayerNorm) and layer.normalized_shape[-1] == shape[3])
        for layer in layers
    )
    second = any(
        (isinstance(layer, nn.Conv2d) and layer.out_channels == shape[1])
        or (isinstance(layer, nn.BatchNorm2d) and layer.num_features == shape[1])
        or (isinstance(layer, nn.GroupNorm) and layer.num_channels == shape[1])
        for layer in layers
    )
    return last and not second


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
    """How many tokens to leave out, and the grid of the rest."""
    for prefixes in (_PREFIXES[:_USUAL], _PREFIXES[_USUAL:]):
        for rounding in _ROUNDINGS:
            for prefix in prefixes:
                grid = _find_grid(tokens - prefix, image_size, rounding)
                if grid is not None:
                    return prefix, grid
    return None


def _find_grid(count: int, image_size: Size, rounding: _Rounding) -> Size | None:
    """The grid of so many patches that one stride along both axes makes of the image."""
    if count < 1:
        return None
    # The number of patches falls as the stride grows: halve the range of strides until the least
    # remains that makes no more than `count` of them.
    low, high = 1, max(image_size)
    while low < high:
        middle = (low + high) // 2
        if math.prod(_grid_at(image_size, middle, up=rounding == "up")) > count:
            low = middle + 1
        else:
            high = middle
    rows, columns = _grid_at(image_size, low, up=rounding == "up")
    if rows * columns != count:
        return None
    stride = image_size[0] // rows
    if rounding == "exact" and (rows * stride, columns * stride) != image_size:
        return None
    return rows, columns


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

    Args:
        feature: The tensor behind the tap.
        layout: Its layout; a vector has no positions and is refused.
        image_size: Height and width of the model's input, from which a token grid is found where
            the layout states none that fits.

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
    if layout.grid is not None and math.prod(layout.grid) == count:
        return layout.grid
    for rounding in _ROUNDINGS:
        grid = _find_grid(count, image_size, rounding)
        if grid is not None:
            return grid
    raise LayoutError(
        f"{count} patch tokens (after {layout.prefix} leading ones) fill no grid of an image "
        f"of {image_size[0]} x {image_size[1]}. State it: Layout('tokens', prefix=…, grid=…)."
    )


def fills_grid(shape: Sequence[int], layout: Layout, image_size: Size) -> bool:
    """Whether a feature has positions on a grid, or none at all; not so for some tokens."""
    if layout.kind != "tokens":
        return True
    try:
        _token_grid(shape[1] - layout.prefix, layout, image_size)
    except LayoutError:
        return False
    return True


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
