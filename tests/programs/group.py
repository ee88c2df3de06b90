"""How the programs of the tests make groups of processes, and leave them."""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import torch.distributed as dist


def leave() -> None:
    """Ends this process once all have come here.

    At once and without tidying up: threads that still run while others are taken down have aborted
    processes that had done all their work.
    """
    dist.barrier()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def fork(worlds: Iterable[int], run: Callable[[int, int, Path], None], folder: Path) -> None:
    """Runs `run(world, rank, meeting)` as every rank of a group of each size, one after another.

    The processes are forks of this one, which pays the imports once.
    """
    for world in worlds:
        children = []
        for rank in range(world):
            child = os.fork()
            if child == 0:
                run(world, rank, folder / f"meeting of {world}")
                os._exit(0)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        if any(codes):
            raise SystemExit(1)
