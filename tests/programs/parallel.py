"""Two gloo processes against one with the whole batch; started as `parallel.py RANK FOLDER`.

Each rank trains on its half of every batch, under DDP and under FSDP. Rank 0 compares with one
process and prints what is the same.
"""

import sys
from itertools import chain
from pathlib import Path

import torch
import torch.distributed as dist
from group import leave
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

import anyteacher as at
from anyteacher.observation import Observation

STEPS, BATCH, WORLD = 3, 4, 2


def model(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(width, 2, 1)
    ).double()


def distiller() -> at.Distiller:
    torch.manual_seed(0)
    links = [
        at.Link("0", "1", warmup=4),
        at.Link("1", "0", direction="traditional", compare="pooled", name="pooled"),
        at.Link("1", loss=at.regularizers.TrailingEnergy(0.5, centre=True), weight=0.5),
        at.Link(["0", "1"], loss=at.regularizers.LogDet(), compare="pooled"),
    ]
    example = torch.rand(2, 3, 8, 12, dtype=torch.float64)
    return at.Distiller(model(4), model(6), links, example=example)


def train(run: nn.Module, rank: int | None) -> tuple[list[torch.Tensor], ...]:
    """Gradients of the last step, parameters after it, and what was seen of the features in it."""
    run.train()
    optimizer = torch.optim.SGD([p for p in run.parameters() if p.requires_grad], lr=0.1)
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        images = torch.rand(BATCH, 3, 8, 12, dtype=torch.float64, generator=generator)
        if rank is not None:
            images = images.chunk(WORLD)[rank]
        out = run(images, observe=True)
        loss = out.prediction.square().mean() + out.total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seen = [number for found in out.observations.values() for number in numbers(found)]
    return [whole(p.grad) for p in run.parameters()], [whole(p) for p in run.parameters()], seen


def numbers(observation: Observation) -> list[torch.Tensor]:
    terms = vars(observation.decomposition) if observation.decomposition else {}
    return [v for v in (*vars(observation).values(), *terms.values()) if torch.is_tensor(v)]


def whole(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def main() -> None:
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=WORLD
    )
    expected = train(distiller(), None)
    sharded = distiller()
    fully_shard(sharded.student)
    fully_shard(sharded)
    for name, run in (("ddp", DistributedDataParallel(distiller())), ("fsdp", sharded)):
        found = train(run, rank)
        for mine, theirs in zip(chain(*found), chain(*expected), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=0)
        if rank == 0:
            print(name, "is the same")
    leave()


if __name__ == "__main__":
    main()
