"""Spectral losses in several gloo processes and in one: `spectral_parallel.py FOLDER`.

Two and then three processes, forks of this one, each with some rows of a batch; rank 0 prints the
numbers of rows for which every averaged gradient is that of the whole batch.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from group import fork, leave
from torch import Tensor, nn

from anyteacher.parallel import total
from anyteacher.regularizers import EffectiveRank, LogDet, NuclearNorm, Regularizer, TrailingEnergy
from anyteacher.spectral import Moments, tracked_trailing_energy

PARTS = {2: ([9, 4], [1, 20], [0, 12]), 3: ([2, 9, 5], [7, 0, 1])}
WIDTH = 6

MADE: tuple[Callable[[], Regularizer], ...] = (
    lambda: TrailingEnergy(2),
    lambda: TrailingEnergy(0.5, fraction=True, centre=True),
    lambda: TrailingEnergy(energy=0.8, centre=True),
    lambda: TrailingEnergy(2, start=5, steps=3),
    NuclearNorm,
    lambda: NuclearNorm(centre=True),
    LogDet,
    EffectiveRank,
)


def student() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, WIDTH)).double()


def spectral(make: Callable[[], Regularizer], rows: Tensor) -> tuple[Tensor, list[Tensor]]:
    model, regularizer = student(), make()
    regularizer.build(WIDTH)
    value = regularizer(model(rows))
    value.backward()
    return value.detach(), [p.grad for p in model.parameters()]


def tracked(rows: Tensor) -> tuple[Tensor, list[Tensor]]:
    model, basis = student(), torch.eye(WIDTH, dtype=torch.float64)[:, :3]
    value, basis = tracked_trailing_energy(model(rows), 2, basis, most=3, reduce=True)
    value.backward()
    return torch.cat([value.detach()[None], (basis @ basis.T).flatten()]), [
        p.grad for p in model.parameters()
    ]


def moments(rows: Tensor) -> tuple[Tensor, list[Tensor]]:
    with torch.no_grad():
        found = Moments.of(student()(rows), rows).reduced()
    assert found.rows in map(sum, [part for parts in PARTS.values() for part in parts])
    return found.cka(), [*found.raw(), found.student, found.student_mean]


def same(counts: list[int], rank: int) -> None:
    world, batch = len(counts), sum(counts)
    generator = torch.Generator().manual_seed(3)
    rows = 1 + torch.randn(batch, 5, dtype=torch.float64, generator=generator)
    start = sum(counts[:rank])
    own = rows[start : start + counts[rank]]
    for run in [*((lambda part, make=make: spectral(make, part)) for make in MADE), tracked]:
        value, gradients = run(own)
        for gradient in gradients:
            dist.all_reduce(gradient)
        expected, whole = with_one(run, rows)
        torch.testing.assert_close(value, expected, atol=1e-10, rtol=0)
        for mine, theirs in zip(gradients, whole, strict=True):
            torch.testing.assert_close(mine / world, theirs, atol=1e-10, rtol=0)
    if min(counts) > 0:
        value, sums = moments(own)
        expected, whole = with_one(moments, rows)
        for mine, theirs in zip([value, *sums], [expected, *whole], strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=0)


def followed(rank: int, world: int) -> None:
    """The subspace is followed by the rows of all: some here have too few by themselves."""
    counts = [300, 100, 20][:world]
    cuts = [sum(counts[:place]) for place in range(world + 1)]
    generator = torch.Generator().manual_seed(5)
    batches = [
        torch.randn(sum(counts), 256, dtype=torch.float64, generator=generator) for _ in range(3)
    ]

    def losses(start: int, end: int) -> list[tuple[Tensor, Tensor]]:
        regularizer, found = TrailingEnergy(8), []
        regularizer.build(256)
        regularizer.double()
        for batch in batches:
            x = batch[start:end].clone().requires_grad_()
            value = regularizer(x)
            value.backward()
            found.append((value.detach(), x.grad))
        return found

    mine = losses(cuts[rank], cuts[rank + 1])
    whole = with_one(lambda rows: losses(0, len(rows)), batches[0])
    for (value, gradient), (expected, every) in zip(mine, whole, strict=True):
        torch.testing.assert_close(value, expected, atol=1e-10, rtol=0)
        own = every[cuts[rank] : cuts[rank + 1]]
        torch.testing.assert_close(gradient / world, own, atol=1e-10, rtol=0)


def with_one(run: Callable[[Tensor], Any], rows: Tensor) -> Any:
    """As in a process that knows of no others."""
    known = dist.is_initialized
    dist.is_initialized = lambda: False
    try:
        return run(rows)
    finally:
        dist.is_initialized = known


def sums(rank: int, world: int) -> None:
    """`total` and its gradient, by hand."""
    x = torch.full((2, 3), float(rank + 1), dtype=torch.float64, requires_grad=True)
    summed = total(x.T)
    assert torch.equal(summed, torch.full((3, 2), world * (world + 1) / 2).double())
    (summed * (rank + 1)).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, world * (world + 1) / 2))
    assert not x.detach().sub(rank + 1).any()  # as it was


def errors_on_all(rank: int) -> None:
    """Too few rows of all together are an error on every process; enough on none are."""
    few = TrailingEnergy(3)
    few.build(WIDTH)
    few(torch.randn(4 - 2 * rank if rank < 2 else 0, WIDTH))
    said = ""
    try:
        few(torch.randn(2 if rank == 0 else 0, WIDTH))
    except Exception as error:
        said = str(error)
    assert "needs at least 4 rows (images times positions), got 2" in said, said
    few.eval()(torch.randn(5, WIDTH))
    if rank == 0:
        few(torch.randn(5, WIDTH))  # in validation no process waits for the others


def run(world: int, rank: int, meeting: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    sums(rank, world)
    errors_on_all(rank)
    followed(rank, world)
    for counts in PARTS[world]:
        same(counts, rank)
        if rank == 0:
            print("-".join(map(str, counts)), flush=True)
    leave()


def main() -> None:
    torch.set_num_threads(1)
    fork(PARTS, run, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
