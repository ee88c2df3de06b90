"""The memory that a forward keeps, and the most that a forward and its backward hold at once."""

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler reports its start on every run


def kept_bytes(forward: Callable[[], Any]) -> int:
    """Size of what a forward keeps for its backward; parameters are not counted."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter) and not isinstance(tensor._base, nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()  # held until the sum is made: freed memory would be counted twice
    total = sum(kept.values())
    del result
    return total


def peak_bytes(run: Callable[[], Any], device: str = "cpu") -> int:
    """The most that was allocated at once during a run, beyond what was there before it.

    On a GPU this is what torch counts. On a CPU it is what went through torch's allocator, the
    tensors inside of operations included; the scratch memory of matrix libraries does not.
    """
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    assert record.profiler is not None
    events = record.profiler.kineto_results.events()
    changes = [event for event in events if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        live += event.nbytes()  # negative where memory is freed
        peak = max(peak, live)
    return peak
