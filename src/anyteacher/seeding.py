"""Randomness that leaves the caller's random state alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def forked(seed: int | None = None) -> Iterator[None]:
    """Runs a block with a random state of its own, from a seed if one is given.

    What is drawn inside changes nothing outside: a student trains bit for bit as it would without
    the projectors and random teachers that are made beside it.
    """
    # All devices are named, since torch warns where there are several and none is.
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        if seed is not None:
            torch.manual_seed(seed)
        yield
