"""Data parallelism: features or sums of all processes in one place, gradients included."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def world_size() -> int:
    """Number of processes that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process among them; 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather(x: Tensor) -> Tensor:
    """The tensors of all processes one after another along the batch, in the order of their ranks.

    Tensors (B, …); the processes may hold batches of different sizes. The backward pass sums over
    the processes what each of them wants of a row: where every process computes the same loss of
    the gathered batch, the gradients that DDP averages are exactly those of one process with the
    whole batch.
    """
    if world_size() == 1:
        return x
    gathered: Tensor = _Gather.apply(x)
    return gathered


def total(x: Tensor) -> Tensor:
    """The sum of the tensors of all processes, of one shape.

    The backward pass sums over the processes what each of them wants of it, as that of `gather`
    does.
    """
    if world_size() == 1:
        return x
    summed: Tensor = _Total.apply(x)
    return summed


def from_first(x: Tensor) -> None:
    """Gives a tensor of all processes, of one shape, the values that it has in the first of them.

    In place, and without a gradient.
    """
    if world_size() > 1:
        dist.broadcast(x.detach(), 0)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        summed = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        own = torch.tensor([len(x)], device=x.device)
        sizes = [torch.zeros_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(sizes, own)
        counts = [int(size) for size in sizes]
        # Collectives want equal shapes: the shorter batches are filled up, and cut off again.
        longest = max(counts)
        padded = x.new_zeros(longest, *x.shape[1:])
        padded[: len(x)] = x
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        ctx.start, ctx.count = sum(counts[: dist.get_rank()]), len(x)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    @once_differentiable  # the sum over processes has no history: no second derivative
    def backward(ctx: Any, *gradients: Any) -> Any:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.start : ctx.start + ctx.count]
