"""Links in closed form in several gloo processes and in one: `closed_form_parallel.py FOLDER`.

Two and then three processes, forks of this one, each with some rows of a batch; rank 0 prints the
numbers of rows for which every averaged gradient, and the averages kept, are those of one process
with the whole batch.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from group import fork, leave
from torch import Tensor, nn

import anyteacher as at
from anyteacher.errors import LayoutError
from anyteacher.projectors import ClosedForm

PARTS = {2: ([9, 14], [20, 1]), 3: ([2, 9, 25], [27, 0, 3])}
TEACHER, STUDENT = 3, 6
SETTINGS = ({}, {"bias": True}, {"decay": 0.6}, {"decay": 0.6, "bias": True})


def steps(counts: list[int], rank: int | None, settings: dict) -> list[Tensor]:
    """Gradients and buffers after some steps of one process, or of one with all of the rows."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, STUDENT)).double()
    projector = ClosedForm(ridge=0.1, **settings)
    projector.build(TEACHER, STUDENT)
    projector.double()
    batch, found = sum(counts), []
    generator = torch.Generator().manual_seed(3)
    for step in range(4):
        rows = 1 + torch.randn(batch, 5, dtype=torch.float64, generator=generator)
        start = 0 if rank is None else sum(counts[:rank])
        own = rows if rank is None else rows[start : start + counts[rank]]
        teacher, z = own[:, :TEACHER] ** 2, model(own)
        if step == 0 and "decay" in settings:
            projector.eval().prefit(teacher, z)  # shared in any mode
            projector.train()
            continue
        # The mean over a process's own rows, weighed by its share of them: W n_k / N.
        loss = (z - projector(teacher, z)).square().sum() / (batch * STUDENT)
        loss = loss * (1 if rank is None else len(counts))
        model.zero_grad()
        loss.backward()
        for parameter in model.parameters():
            if rank is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= len(counts)
            found.append(parameter.grad.clone())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sub_(0.1 * parameter.grad)
    return [*found, *projector.buffers()]


def mixed(counts: list[int], rank: int | None) -> list[Tensor]:
    """Links of every kind in one distiller, each process weighs all by its share."""
    torch.manual_seed(1)
    student = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, STUDENT))
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(12, TEACHER))
    links = [
        at.Link("1", "1", name="taught"),
        at.Link("3", "1", projector=ClosedForm(ridge=0.1), name="fitted"),
        at.Link("1", loss=at.regularizers.TrailingEnergy(2), name="alone", weight=20.0),
        at.Link("3", "1", loss=at.losses.SP(gather=True), name="gathered", weight=5.0),
    ]
    images = 1 + torch.randn(
        sum(counts), 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4)
    )
    made = at.Distiller(student.double(), teacher.double(), links, example=images[:9], seed=2)
    start = 0 if rank is None else sum(counts[:rank])
    own = images if rank is None else images[start : start + counts[rank]]
    total = made(own).total
    if rank is not None:
        total = total * len(own) * len(counts) / len(images)
    total.backward()
    found = []
    for parameter in made.trainable_parameters():
        if rank is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= len(counts)
        found.append(parameter.grad)
    return found


def alone(make: Callable[[], list[Tensor]]) -> list[Tensor]:
    """As in a process that knows of no others."""
    known = dist.is_initialized
    dist.is_initialized = lambda: False
    try:
        return make()
    finally:
        dist.is_initialized = known


def apart(rank: int, world: int) -> None:
    """Rows that are not shared: each process fits its own, in validation too."""
    torch.manual_seed(rank)
    x, z = torch.randn(10, TEACHER), torch.randn(10, STUDENT)
    shared, own = ClosedForm(), ClosedForm(reduce=False)
    for projector in (shared, own):
        projector.build(TEACHER, STUDENT)
    expected = own(x, z)
    assert not torch.equal(shared(x, z), expected)
    assert int(shared.rows) == 10 * world
    assert torch.equal(shared.eval()(x, z), expected)
    few = 5 if rank == 0 else 1  # too few on each, and enough of all together
    shared.train()(x[:few], z[:few])
    said = ""
    try:
        shared(x[:1], z[:1])
    except LayoutError as error:
        said = str(error)
    assert f"has seen {world}." in said, said


def run(world: int, rank: int, meeting: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    apart(rank, world)
    for counts in PARTS[world]:
        for settings in SETTINGS:
            whole = alone(partial(steps, counts, None, settings))
            for mine, expected in zip(steps(counts, rank, settings), whole, strict=True):
                torch.testing.assert_close(mine, expected, atol=1e-10, rtol=0)
        if min(counts) > 0:
            whole = alone(partial(mixed, counts, None))
            for mine, expected in zip(mixed(counts, rank), whole, strict=True):
                torch.testing.assert_close(mine, expected, atol=1e-10, rtol=0)
        if rank == 0:
            print("-".join(map(str, counts)), flush=True)
    leave()


def main() -> None:
    torch.set_num_threads(1)
    fork(PARTS, run, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
