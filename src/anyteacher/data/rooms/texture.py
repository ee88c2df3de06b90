"""Procedural textures: plain, checks, stripes and waves on any surface.

A surface has two coordinates (p, q): metres on flat ones, turns around the axis and height on round
ones. An affine map takes them to (u, v), in which every pattern has period 1. On round surfaces p
enters with whole numbers only, so patterns close without a seam.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anyteacher.data.rooms.rng import Stream, sine

FACES = 6
"""Faces of the room come first in the table: low and high x, floor and ceiling, low and high z."""

# Columns of the table of textures.
PATTERN, MAP, OFFSET, FIRST, SECOND, GLOSS = 0, 1, 5, 7, 10, 13
COLUMNS = 14
PLAIN, CHECKS, STRIPES, WAVES = range(4)

_BOX = 1  # the one kind of object with flat faces


def _hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Float[Tensor, "*n 3"]:
    """Linear light (gamma 2) of a colour given by hue in turns, saturation and value."""
    channels = []
    for shift in (0.0, 2.0 / 3.0, 1.0 / 3.0):
        k = hue + shift
        pure = ((6.0 * (k - torch.floor(k)) - 3.0).abs() - 1.0).clamp(0.0, 1.0)
        channel = value * (1.0 - saturation * (1.0 - pure))
        channels.append(channel * channel)
    return torch.stack(channels, -1)


def _mix(choose: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(choose, a, b)


def _floor_colours(draw: Stream) -> tuple[Tensor, Tensor]:
    style, tone, hue = draw(1), draw(1), draw(1)
    wood, tiles = style < 0.55, style < 0.8
    h = _mix(wood, 0.05 + 0.06 * hue, hue)
    s = _mix(wood, 0.35 + 0.3 * tone, _mix(tiles, 0.12 * tone, 0.3 + 0.25 * tone))
    v = _mix(wood, draw(1, low=0.36, high=0.78), draw(1, low=0.4, high=0.85))
    second = v * draw(1, low=0.58, high=0.86)
    return _hsv(h, s, v), _hsv(h + draw(1, low=-0.02, high=0.02), s, second)


def _wall_colours(draw: Stream, count: int) -> tuple[Tensor, Tensor]:
    strong, tone, hue = draw.chance(0.3, count), draw(count), draw(count)
    s = _mix(strong, 0.3 + 0.3 * tone, 0.02 + 0.2 * tone)
    v = _mix(strong, draw(count, low=0.5, high=0.82), draw(count, low=0.74, high=0.96))
    second = v * draw(count, low=0.68, high=0.9)
    return _hsv(hue, s, v), _hsv(hue + draw(count, low=-0.05, high=0.05), s + 0.05, second)


def _object_colours(draw: Stream, count: int) -> tuple[Tensor, Tensor]:
    hue, s, v = draw(count), draw(count, low=0.5, high=0.92), draw(count, low=0.5, high=0.95)
    style, other = draw(count), draw(count, low=0.25, high=0.75)
    light, dark = style < 0.4, style < 0.6
    h2 = _mix(light | dark, hue, hue + other)
    s2 = _mix(light, 0.08 * s, _mix(dark, s, draw(count, low=0.45, high=0.9)))
    v2 = _mix(light, 0.95 - 0.1 * v, _mix(dark, 0.4 * v, draw(count, low=0.5, high=0.95)))
    return _hsv(hue, s, v), _hsv(h2, s2, v2)


def _flat_map(draw: Stream, count: int, low: float, high: float, tilted: float) -> Tensor:
    """A rotation and scaling: period in [low, high) metres; `tilted`: chance of an odd angle."""
    period = draw(count, low=low, high=high)
    turns = torch.where(draw.chance(tilted, count), draw(count), 0.0)
    cos, sin = sine(turns + 0.25) / period, sine(turns) / period
    return torch.stack((cos, sin, -sin, cos), -1)


def _round_map(draw: Stream, pattern: Tensor, half: Tensor) -> Tensor:
    """Whole numbers of periods around, and about two along the height."""
    count = pattern.shape[1]
    around = torch.floor(draw(count, low=2.0, high=6.0))
    along = draw(count, low=0.7, high=1.8) / half
    style, zero = draw(count), torch.zeros_like(half)
    upright, level = style < 0.35, style < 0.75
    p = _mix(upright, around, _mix(level, zero, torch.ones_like(half)))
    q = _mix(upright, zero, along)
    stripes = torch.stack((p, q, zero, along), -1)
    checks = torch.stack((around, zero, zero, along), -1)
    waves = torch.stack((zero, along, around, zero), -1)
    is_checks, is_waves = (pattern == CHECKS)[..., None], (pattern == WAVES)[..., None]
    return _mix(is_checks, checks, _mix(is_waves, waves, stripes))


def _table(
    draw: Stream, pattern: Tensor, mapping: Tensor, colours: tuple[Tensor, Tensor], gloss: Tensor
) -> Tensor:
    offset = draw(pattern.shape[1], 2)
    head = pattern[..., None].to(mapping.dtype)
    return torch.cat((head, mapping, offset, *colours, gloss[..., None]), -1)


def sample_textures(
    draw: Stream, kind: Int[Tensor, "b k"], half: Float[Tensor, "b k 3"]
) -> Float[Tensor, "b s t"]:
    """Draws the texture of every face of the room and of every object."""
    floor = _table(
        draw,
        draw.choice((0.2, 0.35, 0.3, 0.15), 1),
        _flat_map(draw, 1, 0.5, 1.3, tilted=0.4),
        _floor_colours(draw),
        draw(1, low=0.0, high=0.2),
    )
    walls = _table(
        draw,
        draw.choice((0.5, 0.12, 0.25, 0.13), 2),
        _flat_map(draw, 2, 0.45, 1.4, tilted=0.25),
        _wall_colours(draw, 2),
        torch.zeros_like(kind[:, :2], dtype=half.dtype),
    )
    pale = _hsv(draw(1), draw(1, low=0.0, high=0.07), draw(1, low=0.86, high=0.97))
    ceiling = _table(
        draw,
        draw.choice((0.8, 0.0, 0.2, 0.0), 1),
        _flat_map(draw, 1, 0.8, 1.6, tilted=0.0),
        (pale, pale * 0.85),
        torch.zeros_like(kind[:, :1], dtype=half.dtype),
    )
    # One wall out of four may differ from the others.
    accent = torch.where(draw.chance(0.4, 1, 1), walls[:, 1:], walls[:, :1])
    plain = walls[:, :1]
    count = kind.shape[1]
    pattern = draw.choice((0.34, 0.2, 0.26, 0.2), count)
    flat = _flat_map(draw, count, 0.28, 0.7, tilted=0.35)
    curved = _round_map(draw, pattern, torch.where(kind == 0, 1.0, half[..., 1]))
    mapping = torch.where((kind == _BOX)[..., None], flat, curved)
    gloss = draw(count, low=0.0, high=0.6)
    objects = _table(draw, pattern, mapping, _object_colours(draw, count), gloss)
    return torch.cat((plain, plain, floor, ceiling, plain, accent, objects), 1)


def _square(u: Tensor) -> Tensor:
    """1 in the first half of each period, -1 in the second."""
    return torch.where(u - torch.floor(u) < 0.5, 1.0, -1.0)


def mixture(pattern: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The share of the first colour at (u, v): between 0 and 1."""
    stripe = _square(u)
    wave = (2.5 * sine(u + 0.22 * sine(v))).clamp(-1.0, 1.0)
    value = torch.where(pattern == CHECKS, stripe * _square(v), stripe)
    value = torch.where(pattern == WAVES, wave, value)
    return torch.where(pattern == PLAIN, 1.0, 0.5 + 0.5 * value)
