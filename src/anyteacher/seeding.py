"""Random states: one that leaves the caller's alone, and one for every training step."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def forked(seed: int | None = None) -> Iterator[None]:
    """Runs a block with a random state of its own, from a seed if one is given.

    What is drawn inside changes nothing outside: a student trains bit for bit as it would without
    the projectors and random teachers that are made beside it. Covers the CPU and, once CUDA is in
    use, the current GPU: the others, and a GPU that nobody asked for, are not woken up for it.
    """
    gpus = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=gpus):
        if seed is not None:
            # Not torch.manual_seed: it reseeds every GPU, or, before CUDA is in use, leaves a seed
            # behind for when it will be.
            torch.default_generator.manual_seed(seed)
            for gpu in gpus:
                torch.cuda.default_generators[gpu].manual_seed(seed)
        yield


def seed_draws(place: tuple[int | None, ...], device: torch.device) -> None:
    """Seeds what a model on a device draws from here on, by numbers such as a seed and a step.

    `torch.manual_seed` alone would keep the call, with the stack that it came from, for every kind
    of device that is not in use yet: on a CPU, once a step, a list that only grows.
    """
    seeded = torch.default_generator if device.type == "cpu" else torch
    seeded.manual_seed(hash(place) % 2**63)
