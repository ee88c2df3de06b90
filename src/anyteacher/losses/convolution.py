"""Convolutions that belong to a loss."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def same_size(before: int, after: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the grid; to be applied with `convolve`."""
    return nn.Conv2d(before, after, 3, padding=1)


def convolve(
    x: Float[Tensor, "b c h w"], layer: nn.Conv2d, *, learn: bool = True
) -> Float[Tensor, "b d h w"]:
    """A 3x3 convolution that keeps the grid, in the precision of its input.

    So a loss computes in single precision or better even where its parameters are of half.

    Args:
        x: The map.
        layer: The weights and bias.
        learn: Whether they receive gradients.
    """
    weight, bias = layer.weight, layer.bias
    assert bias is not None
    if not learn:
        weight, bias = weight.detach(), bias.detach()
    return F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), padding=1)
