"""Normalisation of features before they are projected and compared, and of images."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError, LayoutError, did_you_mean

Norm = Literal["none", "batch", "layer", "l2", "whiten"]


def normalize(x: Float[Tensor, "b c *grid"], how: Norm, eps: float = 1e-5) -> Tensor:
    """Normalises a map (B, C, H, W) or vector (B, C) over its batch or its channels.

    Args:
        x: The feature.
        how: `none`; `batch`: every channel to zero mean and unit variance over the batch and its
            positions, without learned parameters or running statistics (under data parallelism:
            over the process's own share of the batch); `layer`: every position to zero mean and
            unit variance over its channels; `l2`: every position to unit length, but for those that
            are zero; `whiten`: as `batch`, and the channels uncorrelated with each other.
        eps: Added to the variance, or the least length divided by.

    Raises:
        LayoutError: when there is one row only and `how` is `batch`: its variance says nothing.
            When there are not two rows more than channels and `how` is `whiten`.
        ConfigError: when `how` is unknown.
    """
    if how == "none":
        return x
    x = x.to(torch.promote_types(x.dtype, torch.float32))  # half precision has no room for squares
    if how == "batch":
        rows = x.numel() // max(1, x.shape[1])
        if rows < 2:
            raise LayoutError(
                f"Normalising a feature of shape {tuple(x.shape)} over the batch needs at least "
                f"two rows and this has {rows}. Use a larger batch, or 'layer' or 'l2'."
            )
        return standardize(x, [axis for axis in range(x.ndim) if axis != 1], eps)
    if how == "layer":
        return standardize(x, [1], eps)
    if how == "l2":
        return unit_length(x, 1, eps)
    if how == "whiten":
        return whiten(x, eps)
    raise ConfigError(f"Unknown normalisation '{how}'. {did_you_mean(how, get_args(Norm))}")


def standardize(x: Tensor, axes: list[int], eps: float = 1e-5) -> Tensor:
    """Zero mean and unit variance over the given axes; one row alone becomes zero."""
    if axes == [axis for axis in range(x.ndim) if axis != 1]:
        # One kernel each way. It multiplies before it subtracts: the first row is taken away so
        # that a constant becomes zero exactly. A shift changes nothing, so no gradient is lost.
        first = x.detach()[tuple(slice(None if axis == 1 else 1) for axis in range(x.ndim))]
        return torch.batch_norm(x - first, None, None, None, None, True, 0.0, eps, False)
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return (x - mean) * (variance + eps).rsqrt()


def inverse_length(x: Tensor, axis: int, eps: float = 1e-12) -> Tensor:
    """1 over the length of each row along an axis, kept; 0 without a gradient for zeros.

    A position, or a channel of an image, that is zero is common after a ReLU. Divided by the least
    length allowed, it would have a gradient of the size of 1 / eps and drown all others.
    """
    length: Tensor = torch.linalg.vector_norm(x, dim=axis, keepdim=True)
    return torch.where(length > 0, length.clamp(min=eps).reciprocal(), 0.0)


def unit_length(x: Tensor, axis: int, eps: float = 1e-12) -> Tensor:
    """Rows of unit length along an axis; a row of zeros has no direction, and no gradient.

    Args:
        x: The rows.
        axis: Along which they run.
        eps: The least length divided by.
    """
    return x * inverse_length(x, axis, eps)


def whiten(x: Float[Tensor, "b c *grid"], eps: float = 1e-5) -> Float[Tensor, "b c *grid"]:
    """Zero mean and identity covariance of the channels over the batch and its positions.

    The standardised rows are multiplied by the inverse of the Cholesky factor of their covariance
    `R`: of `(R + eps I)`, so that a direction of variance v comes to `v / (v + eps)`. Costs one
    (C, C) covariance and its factorisation, and needs no eigenvectors, whose gradients grow without
    bound where eigenvalues meet. Under data parallelism: over the process's own share of the batch.

    Args:
        x: The feature, in single precision or better.
        eps: As a share of a channel's variance; no less than what rounding makes of C channels.

    Raises:
        LayoutError: when there are not two rows more than channels. Fewer become the corners of a
            regular simplex, whatever they were, and nothing is left to compare.

    Source: the normalisation for generative tasks in Miles, Elezi and Deng, "VkD: Improving
    Knowledge Distillation using Orthogonal Projections", CVPR 2024; its form, by a Cholesky
    factor, from Ermolov, Siarohin, Sangineto and Sebe, "Whitening for Self-Supervised
    Representation Learning", ICML 2021.
    """
    channels = x.shape[1]
    rows = x.numel() // max(1, channels)
    if rows < channels + 2:
        raise LayoutError(
            f"Whitening a feature of shape {tuple(x.shape)} needs at least {channels + 2} rows "
            f"(images times positions), two more than channels, and this has {rows}. Use a larger "
            "batch, compare='positions', an earlier tap with more positions, or 'batch'."
        )
    with torch.autocast(x.device.type, enabled=False):
        flat = standardize(x, [axis for axis in range(x.ndim) if axis != 1], eps)
        flat = flat.movedim(1, 0).flatten(1)
        one = torch.eye(channels, dtype=x.dtype, device=x.device)
        shrinkage = max(eps, channels * torch.finfo(x.dtype).eps)
        # Unlike `cholesky`, this does not wait for the device to ask whether it has failed.
        factor, failed = torch.linalg.cholesky_ex(flat @ flat.T / rows + shrinkage * one)
        factor = torch.where(failed > 0, torch.nan, factor)
        white: Tensor = torch.linalg.solve_triangular(factor, one, upper=False) @ flat
    return white.reshape(channels, x.shape[0], *x.shape[2:]).movedim(0, 1)


@dataclass(frozen=True)
class ImageNorm:
    """How images in [0, 1] were, or are to be, normalised: `(image - mean) / std` per channel.

    Args:
        mean: One number for each channel, or one for all.
        std: Likewise; positive.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.mean or not self.std or min(self.std) <= 0:
            raise ConfigError(
                f"Image normalisation needs a mean and a positive std, got {self.mean} and "
                f"{self.std}."
            )
        if len({len(self.mean), len(self.std), 1}) > 2:
            raise ConfigError(
                f"Image normalisation has {len(self.mean)} means and {len(self.std)} stds; "
                "give one for each channel, or one for all."
            )

    def to(self, other: "ImageNorm") -> tuple[Float[Tensor, "c 1 1"], Float[Tensor, "d 1 1"]]:
        """Scale and shift that take images of this normalisation to the other, in one step."""
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        other_mean, other_std = torch.tensor(other.mean), torch.tensor(other.std)
        scale, shift = std / other_std, (mean - other_mean) / other_std
        return scale[:, None, None], shift[:, None, None]


IMAGENET = ImageNorm((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
