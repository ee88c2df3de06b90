import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from anyteacher.parallel import gather, rank, total, world_size

PROGRAM = Path(__file__).parent / "programs" / "gathered.py"


def test_alone_there_is_one_process_and_nothing_to_gather():
    x = torch.randn(3, 4, requires_grad=True)
    assert (world_size(), rank()) == (1, 0)
    assert gather(x) is x
    assert total(x) is x  # in several processes: tests/programs/spectral_parallel.py


def test_a_torch_without_collectives_is_one_process(monkeypatch):
    monkeypatch.setattr(dist, "is_available", lambda: False)
    monkeypatch.delattr(dist, "is_initialized")  # which such a torch lacks
    assert (world_size(), rank()) == (1, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="gloo's files need a POSIX system")
def test_unequal_parts_together_are_the_whole_batch_gradients_included(tmp_path):
    """In two and in three processes, some of which have no image at all."""
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["3-1", "1-1", "0-4", "2-4-1", "3-0-2"]
