"""`gather` in several gloo processes and in one: `gathered.py FOLDER`.

Two and then three processes, forks of this one, each with some rows of a batch; rank 0 prints the
numbers of rows for which all is the same as with the whole batch in one process.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from group import fork, leave

from anyteacher.parallel import gather, world_size

PARTS = {2: ([3, 1], [1, 1], [0, 4]), 3: ([2, 4, 1], [3, 0, 2])}
SHAPES = ((), (5,), (4, 2, 3))


def relations(x: torch.Tensor) -> torch.Tensor:
    """A loss of the batch as a whole: no mean over its images."""
    rows = x.reshape(len(x), -1)
    return ((rows @ rows.T).softmax(1) * torch.arange(len(x))).square().mean()


def same(counts: list[int], rank: int, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(3)
    batch = torch.randn(sum(counts), *shape, dtype=torch.float64, generator=generator)
    start = sum(counts[:rank])
    part = slice(start, start + counts[rank])
    if len(shape) == 3:
        batch = batch.contiguous(memory_format=torch.channels_last)

    # The value, and the gradient that DDP would average over the processes.
    whole = batch.clone().requires_grad_()
    expected = relations(whole)
    expected.backward()
    own = batch[part].clone().requires_grad_()
    found = gather(own)
    assert torch.equal(found, batch)
    loss = relations(found)
    assert torch.equal(loss, relations(batch))
    loss.backward()
    torch.testing.assert_close(own.grad / len(counts), whole.grad[part], atol=1e-12, rtol=0)

    # Each process wants something else of the rows: every row gets the sum.
    own = batch[part].clone().requires_grad_()
    (gather(own) * (rank + 1)).sum().backward()
    total = sum(range(1, len(counts) + 1))
    torch.testing.assert_close(own.grad, torch.full_like(own, total), atol=1e-12, rtol=0)

    # What has no gradient: numbers of classes, features of a teacher, half precision.
    numbers = torch.arange(sum(counts))
    assert torch.equal(gather(numbers[part]), numbers)
    half = batch.half()
    assert torch.equal(gather(half[part]), half)
    assert not gather(half[part]).requires_grad


def no_second_derivative(rank: int) -> None:
    x = torch.ones(rank + 1, 2, requires_grad=True)
    (grad,) = torch.autograd.grad(gather(x).square().sum(), x, create_graph=True)
    said = "nothing, and gave one without the other processes' part"
    try:
        grad.sum().backward()
    except RuntimeError as error:
        said = str(error)
    assert "once_differentiable" in said, said


def run(world: int, rank: int, meeting: Path) -> None:
    assert world_size() == 1
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    assert world_size() == world
    for counts in PARTS[world]:
        for shape in SHAPES:
            same(counts, rank, shape)
        if rank == 0:
            print("-".join(map(str, counts)), flush=True)
    no_second_derivative(rank)
    leave()


def main() -> None:
    torch.set_num_threads(1)
    fork(PARTS, run, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
