"""How targets are read from image files: depth in metres, normals."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError
from anyteacher.images import read_depth, read_pixels


def check_metres(max_depth: float, scale: float | None = None) -> None:
    """Refuses a farthest depth, or a number of steps a metre, that is not positive.

    Raises:
        ConfigError: then.
    """
    for name, value in (("max_depth", max_depth), ("depth_scale", scale)):
        if value is not None and not value > 0:  # which NaN is not, either
            raise ConfigError(f"{name} must be a positive number, not {value}.")


def known_depth(depth: Float[Tensor, "1 h w"], max_depth: float) -> Float[Tensor, "1 h w"]:
    """Depth with 0 where it is unknown: not finite, not positive, or beyond `max_depth` metres."""
    known = depth.isfinite() & (depth > 0) & (depth <= max_depth)
    return torch.where(known, depth, 0.0)


def read_metres(
    path: Path, *, scale: float | None, max_depth: float = float("inf")
) -> Float[Tensor, "1 h w"]:
    """Depth from a 16-bit grey PNG.

    Args:
        path: The file.
        scale: Steps a metre; None where the file says it.
        max_depth: Farther depth, in metres, is taken for unknown.

    Raises:
        DataError: when the file cannot be read, is not of this kind, or does not say its scale.
    """
    return known_depth(read_depth(path, scale=scale), max_depth)


def read_normals(path: Path) -> Float[Tensor, "3 h w"]:
    """Unit normals from an image whose colours are x, y and z from -1 at 0 to 1 at 255.

    Colours that are nearer to grey than to any direction are unknown, and become zero.

    Raises:
        DataError: when the file cannot be read.
    """
    vectors = read_pixels(path).float() / 127.5 - 1
    length = torch.linalg.vector_norm(vectors, dim=0, keepdim=True)
    return torch.where(length > 0.5, vectors / length.clamp(min=0.5), 0.0)
