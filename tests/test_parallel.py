import sys

import pytest
import torch
import torch.distributed as dist

from anyteacher.parallel import from_first, gather, rank, total, world_size


def test_alone_there_is_one_process_and_nothing_to_gather():
    x = torch.randn(3, 4, requires_grad=True)
    assert (world_size(), rank()) == (1, 0)
    assert gather(x) is x
    assert total(x) is x  # in several processes: tests/programs/spectral_parallel.py
    before = x.detach().clone()
    from_first(x)  # in several processes: tests/programs/adversary_parallel.py
    assert torch.equal(x, before)


def test_a_torch_without_collectives_is_one_process(monkeypatch):
    monkeypatch.setattr(dist, "is_available", lambda: False)
    monkeypatch.delattr(dist, "is_initialized")  # which such a torch lacks
    assert (world_size(), rank()) == (1, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="gloo's files need a POSIX system")
def test_unequal_parts_together_are_the_whole_batch_gradients_included(tmp_path, program):
    """In two and in three processes, some of which have no image at all."""
    assert program("gathered.py", tmp_path).split() == ["3-1", "1-1", "0-4", "2-4-1", "3-0-2"]
