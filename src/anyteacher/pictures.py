"""Colours for depth, classes, normals, errors and probabilities, and sheets with captions.

The two colour scales and the palette are computed here, in Oklab (Björn Ottosson, "A perceptual
color space for image processing", 2020): equal steps of a value look like equal steps of colour,
and lightness only rises along a scale, so that it reads the same to colour-blind people and in
grey print.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_UNKNOWN = 128  # the grey of unknown values


def oklab_to_srgb(lab: Float[Tensor, "*any 3"]) -> Float[Tensor, "*any 3"]:
    """Oklab to sRGB; outside [0, 1] where the screen has no such colour."""
    to_lms = torch.tensor(
        [
            [1.0, 0.3963377774, 0.2158037573],
            [1.0, -0.1055613458, -0.0638541728],
            [1.0, -0.0894841775, -1.2914855480],
        ],
        dtype=lab.dtype,
    )
    to_rgb = torch.tensor(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ],
        dtype=lab.dtype,
    )
    linear = ((lab @ to_lms.T) ** 3) @ to_rgb.T
    bent = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, bent)


@functools.cache
def scale_table(name: str) -> UInt8[Tensor, "256 3"]:
    """The colours of a scale, dark to bright.

    `depth` runs from dark purple over blue and green to yellow, `error` from near-black over
    purple and red to pale yellow. Each is a curve in Oklab with evenly rising lightness and
    turning hue, walked at even speed.
    """
    lightness, hues, chroma = {
        "depth": ((0.25, 0.95), (320.0, 105.0), (0.12, 0.09)),
        "error": ((0.12, 0.97), (270.0, 460.0), (0.05, 0.14)),
    }[name]
    t = torch.linspace(0, 1, 2049, dtype=torch.float64)
    c = chroma[0] + (chroma[1] - chroma[0]) * torch.sin(math.pi * t)
    hue = torch.deg2rad(hues[0] + (hues[1] - hues[0]) * t)
    light = lightness[0] + (lightness[1] - lightness[0]) * t
    curve = torch.stack([light, c * hue.cos(), c * hue.sin()], dim=1)
    walked = torch.cat([t[:1], curve.diff(dim=0).norm(dim=1).cumsum(0)])
    even = torch.linspace(0, float(walked[-1]), 256, dtype=torch.float64)
    colors = oklab_to_srgb(curve[torch.searchsorted(walked, even).clamp(max=2048)])
    return (colors.clamp(0, 1) * 255).round().to(torch.uint8)


@functools.cache
def palette() -> UInt8[Tensor, "256 3"]:
    """One colour a class; 255 (ignored) is black.

    The first seven and grey are the colours of Okabe and Ito ("Color Universal Design", 2008),
    which colour-blind people tell apart. The others turn the hue by the golden angle at five
    lightnesses in turn: all differ, but nobody tells a hundred colours apart.
    """
    named = ["E69F00", "56B4E9", "009E73", "F0E442", "0072B2", "D55E00", "CC79A7", "999999"]
    first = torch.tensor([list(bytes.fromhex(code)) for code in named], dtype=torch.uint8)
    index = torch.arange(256 - len(first), dtype=torch.float64)
    hue = index * math.pi * (3 - math.sqrt(5))
    light, chroma = 0.4 + 0.1 * (index % 5), 0.09
    lab = torch.stack([light, chroma * hue.cos(), chroma * hue.sin()], dim=1)
    others = (oklab_to_srgb(lab).clamp(0, 1) * 255).round().to(torch.uint8)
    colors = torch.cat([first, others])
    colors[255] = 0
    return colors


def _on_scale(shares: Float[Tensor, "b 1 h w"], name: str) -> UInt8[Tensor, "b 3 h w"]:
    """Colours of numbers from 0 to 1; grey where not a number."""
    unknown = shares.isnan()
    steps = (torch.where(unknown, 0.0, shares).clamp(0, 1) * 255).round().long().cpu()
    colors = scale_table(name)[steps[:, 0]].permute(0, 3, 1, 2)
    return torch.where(unknown.cpu(), torch.tensor(_UNKNOWN, dtype=torch.uint8), colors)


def depth(
    values: Float[Tensor, "b 1 h w"], like: Float[Tensor, "b 1 h w"] | None = None
) -> UInt8[Tensor, "b 3 h w"]:
    """Depth in metres: near is bright yellow, far is dark purple, unknown is grey.

    Equal ratios of depth are equal steps of colour. Each image has its own range, that of its
    known values or, where given, of the values of `like` for the same image.
    """
    near, far = depth_range(values if like is None else like)
    known = values.isfinite() & (values > 0)
    logs = torch.where(known, values, math.nan).float().log()
    span = (far.log() - near.log()).clamp(min=1e-6)
    return _on_scale((far.log() - logs) / span, "depth")


def depth_range(
    values: Float[Tensor, "b 1 h w"],
) -> tuple[Float[Tensor, "b 1 1 1"], Float[Tensor, "b 1 1 1"]]:
    """The nearest and the farthest known depth of each image; 1 and 1 where none is known."""
    known = values.isfinite() & (values > 0)
    near = torch.where(known, values, math.inf).float().amin((1, 2, 3), keepdim=True)
    far = torch.where(known, values, 0.0).float().amax((1, 2, 3), keepdim=True)
    return torch.where(near.isinf(), 1.0, near), torch.where(far == 0, 1.0, far)


def classes(labels: Int[Tensor, "b h w"]) -> UInt8[Tensor, "b 3 h w"]:
    """Class indices from 0 to 255 in the colours of `palette`."""
    return palette()[labels.long().cpu()].permute(0, 3, 1, 2).contiguous()


def normals(values: Float[Tensor, "b 3 h w"]) -> UInt8[Tensor, "b 3 h w"]:
    """Unit normals in the camera's frame (x right, y down, z forward).

    Red is right, green is up, blue is towards the camera: a wall seen head-on is light blue.
    """
    flip = torch.tensor([1.0, -1.0, -1.0], device=values.device).reshape(3, 1, 1)
    return image((values * flip + 1) / 2)


def error(values: Float[Tensor, "b 1 h w"], limit: float) -> UInt8[Tensor, "b 3 h w"]:
    """Errors from 0 (black) to `limit` and above (pale yellow); grey where not a number."""
    return _on_scale(values.float() / limit, "error")


def image(values: Float[Tensor, "b c h w"]) -> UInt8[Tensor, "b 3 h w"]:
    """Images of one or three channels in [0, 1]."""
    eight_bit = (values.float().nan_to_num(0.0).clamp(0, 1) * 255).round().to(torch.uint8)
    return eight_bit.expand(-1, 3, -1, -1).cpu()


def bars(shares: Float[Tensor, "b k"], size: int = 64) -> UInt8[Tensor, "b 3 h w"]:
    """A bar chart of numbers from 0 to 1 for each image, `size` pixels high and at least as wide.

    Bars stand from left to right in the order and the colours of the classes.
    """
    count = shares.shape[1]
    width = size if count <= size else count
    column = torch.arange(width) * count // width
    height = 1 - (torch.arange(size) + 0.5) / size
    filled = shares.detach().float().cpu()[:, None, column] > height[None, :, None]
    colors = palette()[column % 255].T[None, :, None, :]
    return torch.where(filled[:, None], colors, torch.tensor(255, dtype=torch.uint8))


def grid(
    rows: Sequence[Sequence[UInt8[Tensor, "3 h w"]]],
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
    *,
    cell: int = 128,
) -> Image.Image:
    """A sheet of pictures with a title over each column and a label beside each row.

    Args:
        rows: the pictures, row by row; a row may be shorter than the others.
        columns: one title a column, or none at all.
        labels: one label a row, or none at all.
        cell: height and width of a cell. Pictures keep their shape; small ones are enlarged
            without smoothing.
    """
    font = ImageFont.load_default(size=14)
    gap, heading = 6, 20
    lines = [line for label in labels for line in label.splitlines()]
    left = gap + max((math.ceil(font.getlength(line)) + gap for line in lines), default=0)
    top = gap + (heading if columns else 0)
    wide = max((len(row) for row in rows), default=0)
    sheet = Image.new("RGB", (left + wide * (cell + gap), top + len(rows) * (cell + gap)), "white")
    pen = ImageDraw.Draw(sheet)
    for x, title in enumerate(columns):
        pen.text((left + x * (cell + gap) + cell // 2, gap), title, "black", font, anchor="ma")
    for y, row in enumerate(rows):
        upper = top + y * (cell + gap)
        if y < len(labels):
            pen.text((gap, upper + cell // 2), labels[y], "black", font, anchor="lm")
        for x, picture in enumerate(row):
            tile = _fit(picture, cell)
            corner = (cell - tile.width) // 2, (cell - tile.height) // 2
            sheet.paste(tile, (left + x * (cell + gap) + corner[0], upper + corner[1]))
    return sheet


def _fit(picture: UInt8[Tensor, "3 h w"], cell: int) -> Image.Image:
    tile = Image.fromarray(np.ascontiguousarray(picture.cpu().permute(1, 2, 0).numpy()))
    factor = cell / max(tile.size)
    size = max(1, round(tile.width * factor)), max(1, round(tile.height * factor))
    return tile.resize(size, Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS)
