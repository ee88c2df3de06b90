"""How pictures and targets are read from image files: upright, depth in metres, normals."""

from collections.abc import Iterable
from math import inf
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from anyteacher.errors import ConfigError, DataError
from anyteacher.images import read_depth, read_pixels

_LENGTH = 0.1  # how far the length of a normal in 8 bits may be from 1; JPEG files come to 0.05
_GREY, _CORNER = 0.1, 1.5  # black and white have equal colours and a length of 1.7
_WRONG = 0.05


def check_metres(max_depth: float, scale: float | None = None) -> None:
    """Refuses a farthest depth, or a number of steps a metre, that is not positive.

    Raises:
        ConfigError: then.
    """
    for name, value in (("max_depth", max_depth), ("depth_scale", scale)):
        if value is not None and not value > 0:  # which NaN is not, either
            raise ConfigError(f"{name} must be a positive number, not {value}.")


def read_photo(path: Path, targets: Iterable[Tensor]) -> UInt8[Tensor, "3 h w"]:
    """A photo upright, as its camera held it (EXIF), or as it is stored where its targets are.

    Only the size tells which way targets lie; where both ways have it, they are upright.

    Args:
        path: The file.
        targets: What belongs to its pixels (..., h, w).

    Raises:
        DataError: when the file cannot be read as an image.
    """
    photo = read_pixels(path)
    sizes = {target.shape[-2:] for target in targets}
    if sizes and photo.shape[-2:] not in sizes:
        stored = read_pixels(path, upright=False)
        return stored if stored.shape[-2:] in sizes else photo
    return photo


def known_depth(depth: Float[Tensor, "1 h w"], max_depth: float = inf) -> Float[Tensor, "1 h w"]:
    """Depth with 0 where it is unknown: not finite, not positive, or beyond `max_depth` metres."""
    known = depth.isfinite() & (depth > 0) & (depth <= max_depth)
    return torch.where(known, depth, 0.0)


def read_metres(path: Path, *, scale: float | None) -> Float[Tensor, "1 h w"]:
    """Depth from a 16-bit grey PNG.

    Args:
        path: The file.
        scale: Steps a metre; None where the file says it.

    Raises:
        DataError: when the file cannot be read, or is not of this kind.
        ConfigError: when it does not say its scale and none is given.
    """
    return known_depth(read_depth(path, scale=scale))


def read_normals(path: Path) -> Float[Tensor, "3 h w"]:
    """Unit normals from an image whose colours are x, y and z from -1 at 0 to 1 at 255.

    Black, white, and colours that are nearer to grey than to any direction are unknown, and become
    zero; so do those between two directions, which are shorter than 0.9, and longer than 1.1.

    Raises:
        DataError: when the file cannot be read, or a twentieth of its pixels and more are too long
            to be directions, as in a photograph.
    """
    vectors = read_pixels(path, upright=False).float() / 127.5 - 1
    length = torch.linalg.vector_norm(vectors, dim=0, keepdim=True)
    grey = vectors.amax(0, keepdim=True) - vectors.amin(0, keepdim=True) < _GREY
    wrong = (length > 1 + _LENGTH) & ~(grey & (length > _CORNER))
    if (share := float(wrong.float().mean())) >= _WRONG:
        raise DataError(
            f"{path} holds no normals: the colours of {share:.0%} of its pixels are no directions, "
            "for x, y and z from -1 at 0 to 1 at 255 have a length far from 1."
        )
    return torch.where((length - 1).abs() <= _LENGTH, vectors / length.clamp(min=0.5), 0.0)
