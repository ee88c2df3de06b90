"""Pictures and everything that belongs to their pixels, moved together (torchvision v2).

Classes, depth and normals are kinds of `tv_tensors.Mask` with kernels of their own: they are never
mixed between pixels, which would make up depths and classes that nobody measured at the edges of
things, and a resized pixel takes its value from under its own centre, where the picture has it. A
plain mask of torchvision comes out up to half a pixel off. So torchvision's own resizes, flips and
crops inside of a picture treat them right, too. Outside of a picture torchvision has zero, which of
`Classes` is the first one: give its transforms a `fill` of 255 for them.
"""

from math import inf
from typing import Any

import torch
import torchvision.transforms.v2.functional as V
from torch import Tensor
from torchvision import tv_tensors

from anyteacher.data.augmentation import View
from anyteacher.errors import ConfigError
from anyteacher.facts import IGNORE
from anyteacher.normalization import ImageNorm


class Classes(tv_tensors.Mask):  # type: ignore[misc]
    """Labels of pixels (h, w), of any integer type."""


class DepthMap(tv_tensors.Mask):  # type: ignore[misc]
    """Metres (1, h, w); 0 where unknown."""


class Normals(tv_tensors.Mask):  # type: ignore[misc]
    """Unit vectors (3, h, w), x to the right, y down, z forward; zero where unknown."""


KINDS: dict[str, type] = {
    "image": tv_tensors.Image,
    "target": tv_tensors.Image,
    "segmentation": Classes,
    "depth": DepthMap,
    "normals": Normals,
}
"""How the keys of a sample that hold pixels are moved; all others stay as they are."""

# What lies outside of a picture.
_OUTSIDE: dict[Any, int] = {Classes: IGNORE, DepthMap: 0, Normals: 0}

_PICKED = (Classes, DepthMap, Normals)


def nearest(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels (…, h, w) of any type resized: each takes the value from under its centre.

    >>> nearest(torch.arange(6).reshape(1, 6), (1, 2))
    tensor([[1, 4]])
    """
    places = [
        (2 * torch.arange(new) + 1) * old // (2 * new)
        for old, new in zip(pixels.shape[-2:], size, strict=True)
    ]
    return pixels[..., places[0][:, None], places[1]]


def _plain(pixels: Any) -> Tensor:
    plain: Tensor = pixels.as_subclass(Tensor)
    return plain


def _resize(pixels: Any, size: Any, *_: Any, **__: Any) -> Any:
    """Of a height and width; torchvision's single number for the shorter side is refused."""
    if size is None or len(size) != 2:
        raise ConfigError(f"Classes, depth and normals are resized to two sides, not to {size}.")
    return tv_tensors.wrap(nearest(_plain(pixels), (size[0], size[1])), like=pixels)


def _resize_normals(normals: Any, size: Any, *_: Any, **__: Any) -> Any:
    """As the others, if both sides are scaled alike, but for what whole pixels make of that."""
    least, most = 0.0, inf
    for old, new in zip(normals.shape[-2:], size or (), strict=False):
        # A side is rounded to whole pixels, and becomes no less than one.
        least = max(least, (new - 0.5) / (old + 0.5) if new > 1 else 0)
        most = min(most, (new + 0.5) / (old - 0.5) if old > 1 else inf)
    if least > most:
        raise ConfigError(
            "Normals do not survive that a picture is stretched. Leave the augmentation's ratio at "
            "(1, 1)."
        )
    return _resize(normals, size)


def _resized_crop(pixels: Any, *box: int, size: Any, **options: Any) -> Any:
    """Torchvision gives top, left, height and width of the box, by place or by name."""
    named = {key: options[key] for key in ("top", "left", "height", "width") if key in options}
    return V.resize(V.crop(pixels, *box, **named), size)


def _mirrored(axis: int) -> Any:
    """A kernel that exchanges the ends of an axis and turns the normals' component along it."""

    def mirror(normals: Any, *_: Any, **__: Any) -> Any:
        turned = _plain(normals).flip(axis)
        component = -1 - axis  # x runs along the last axis, y along the one before
        turned[..., component, :, :] *= -1
        return tv_tensors.wrap(turned, like=normals)

    return mirror


def _refused(normals: Any, *_: Any, **__: Any) -> Any:
    raise ConfigError(
        "Normals would have to be turned by this transform, and are not. Leave it out, or the "
        "normals."
    )


for _kind in _PICKED:
    V.register_kernel(V.resize, _kind)(_resize_normals if _kind is Normals else _resize)
    V.register_kernel(V.resized_crop, _kind)(_resized_crop)
V.register_kernel(V.horizontal_flip, Normals)(_mirrored(-1))
V.register_kernel(V.vertical_flip, Normals)(_mirrored(-2))
for _turning in (V.rotate, V.affine, V.perspective, V.elastic):
    V.register_kernel(_turning, Normals)(_refused)


def apply(view: View, sample: dict[str, Tensor], norm: ImageNorm) -> dict[str, Tensor]:
    """A sample as it looks in a view.

    Images (3, h, w) of 8 bits are resized bilinearly and come out in [0, 1]. Outside of the picture
    they have the mean colour; an image to be made is not known there (NaN). Classes become int64.
    Where the view is zoomed, depth is divided by the zoom: a camera of the same focal length sees
    the same picture from so much nearer (Eigen et al., NeurIPS 2014).

    Args:
        view: What is seen.
        sample: Plain tensors by their keys.
        norm: Whose mean is the colour outside.

    Raises:
        ConfigError: when the view is stretched and there are normals, or is coloured and the sample
            holds an image to be made from its own.
    """
    _check_colors(view, sample)
    colors = [float(round(255 * value)) for value in norm.mean]
    moved = {}
    for key, pixels in sample.items():
        if key not in KINDS:
            moved[key] = pixels
            continue
        kind = KINDS[key]
        seen = _shown(view, kind(pixels))
        if key == "image":
            seen = _color(view, seen)
        plain = _plain(_placed(view, seen, _OUTSIDE.get(kind, colors)))
        if kind is tv_tensors.Image:
            plain = plain.float() / 255
            if key == "target":
                plain = torch.where(_covered(view), plain, torch.nan)
        elif kind is Classes:
            plain = plain.long()
        elif kind is DepthMap and view.zoom != 1:
            plain = plain / view.zoom
        moved[key] = plain.contiguous()
    return moved


def _check_colors(view: View, sample: dict[str, Tensor]) -> None:
    if "target" in sample and view.color != (1, 1, 1):
        raise ConfigError(
            "Colours that vary would part an image from the one to be made of it. Leave the "
            "augmentation's color at 0."
        )


def _resized(image: Any, size: tuple[int, int]) -> Any:
    """An image of 8 bits, resized bilinearly and without aliases."""
    if 1 not in (*image.shape[-2:], *size):
        return V.resize(image, list(size), antialias=True)
    # torch's kernel for 8 bits is wrong, or fails, where a side is a single pixel (2.14).
    fine = V.resize(image.float(), list(size), antialias=True)
    return tv_tensors.wrap(_plain(fine).round().clamp(0, 255).to(torch.uint8), like=image)


def _shown(view: View, pixels: Any) -> Any:
    """The part of a picture that is seen, as large as in the view."""
    _, _, height, width = view.spot
    pixels = V.crop(pixels, *view.part)
    if pixels.shape[-2:] == (height, width):
        return pixels
    if isinstance(pixels, tv_tensors.Image):
        return _resized(pixels, (height, width))
    return V.resize(pixels, [height, width])


def _placed(view: View, pixels: Any, outside: Any) -> Any:
    """What is seen at its place in the view."""
    down, right, height, width = view.spot
    below, beyond = view.size[0] - down - height, view.size[1] - right - width
    if max(down, right, below, beyond):
        pixels = V.pad(pixels, [right, down, beyond, below], fill=outside)
    return V.horizontal_flip(pixels) if view.mirrored else pixels


def _covered(view: View) -> Tensor:
    """Where a view (h, w) shows the picture."""
    down, right, height, width = view.spot
    covered = torch.zeros(view.size, dtype=torch.bool)
    covered[down : down + height, right : right + width] = True
    return covered.flip(-1) if view.mirrored else covered


def _color(view: View, image: Any) -> Any:
    change = (V.adjust_brightness, V.adjust_contrast, V.adjust_saturation)
    for adjust, factor in zip(change, view.color, strict=True):
        if factor != 1:
            image = adjust(image, factor)
    return image
