"""How the programs of the tests leave a group of processes."""

import os
import sys

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
