"""CRD in two gloo processes under DDP: `crd_parallel.py RANK FOLDER`.

Each rank has its part of every batch, and draws noise of its own. Both must end with one memory:
that of a single process with the whole batch, as long as the embeddings are the same.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from group import leave
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import anyteacher as at

STEPS, BATCH, SAMPLES = 3, 6, 20


def distiller() -> at.Distiller:
    torch.manual_seed(0)
    student, teacher = (nn.Sequential(nn.Flatten(), nn.Linear(12, n)).double() for n in (4, 7))
    loss = at.losses.CRD(SAMPLES, 5, negatives=8)
    links = [at.Link("1", "1", loss=loss, direction=way, compare="pooled", name=way)
             for way in at.losses.DIRECTIONS]  # fmt: skip
    return at.Distiller(
        student, teacher, links, example=torch.rand(2, 3, 2, 2, dtype=torch.float64)
    )


def train(run: nn.Module, rank: int | None, lr: float) -> dict[str, torch.Tensor]:
    """The memories after a few steps."""
    optimizer = torch.optim.SGD([p for p in run.parameters() if p.requires_grad], lr=lr)
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(100 if rank is None else rank)
    cut = 4  # unequal parts
    part = slice(None) if rank is None else slice(0, cut) if rank == 0 else slice(cut, None)
    for _ in range(STEPS):
        images = torch.rand(BATCH, 3, 2, 2, dtype=torch.float64, generator=generator)
        indices = torch.randperm(SAMPLES, generator=generator)[:BATCH]
        indices[-1] = indices[0]  # an image that both processes have: the last one counts
        optimizer.zero_grad()
        run(images[part], indices=indices[part]).total.backward()
        optimizer.step()
    return {name: buffer for name, buffer in run.named_buffers() if "losses" in name}


def main() -> None:
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2
    )
    expected = {f"module.{k}": v for k, v in alone().items()}
    for lr in (0.0, 0.1):
        # Without DDP's own broadcast, which would hide a difference.
        run = DistributedDataParallel(distiller(), broadcast_buffers=False)
        found = train(run, rank, lr)
        assert len(found) == 9
        for name, mine in found.items():
            both = [torch.empty_like(mine) for _ in range(2)]
            dist.all_gather(both, mine)
            assert torch.equal(both[0], both[1]), name
            if lr == 0 and "memory" in name:
                torch.testing.assert_close(mine, expected[name], atol=1e-12, rtol=0)
    if rank == 0:
        print("one memory")
    leave()


def alone() -> dict[str, torch.Tensor]:
    """One process with the whole batch, in the midst of a group that it does not ask."""
    world, at.losses.contrastive.gather = at.losses.contrastive.gather, lambda x: x
    try:
        return train(distiller(), None, 0.0)
    finally:
        at.losses.contrastive.gather = world


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
