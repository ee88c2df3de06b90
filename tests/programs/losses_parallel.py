"""Every loss in two gloo processes and in one with the whole batch: `... RANK FOLDER`.

Each rank has its part of a batch: half of it, or unequal parts where the loss gathers them. Rank 0
prints the names of the losses whose averaged gradients are those of the whole batch.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from group import leave
from torch import nn

sys.path.append(str(Path(__file__).parents[1] / "contracts"))
from rows.base import CLASSES, built, told
from rows.table import TABLE

from anyteacher.losses import BatchLoss

IMAGES = 6


def gradients(loss, part, images=IMAGES):
    """Of the loss by the weights behind the student's feature and the projected teacher's."""
    generator = torch.Generator().manual_seed(1)
    grid = () if loss.form == "images" else (4, 3)
    x = torch.randn(images, CLASSES, *grid, dtype=torch.float64, generator=generator)
    torch.manual_seed(2)
    student, teacher = (nn.Conv1d(CLASSES, CLASSES, 1).double() for _ in "ab")
    extras = {name: given[part] for name, given in told(loss, images, grid).items()}
    features = (
        layer(x[part].reshape(len(x[part]), CLASSES, -1)).reshape(x[part].shape)
        for layer in (student, teacher)
    )
    loss(*features, **extras).backward()
    learned = [*student.parameters(), *teacher.parameters(), *loss.parameters()]
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in learned]


def main() -> None:
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2
    )
    for cls, row in TABLE.items():
        batch = issubclass(cls, BatchLoss)
        if not batch and not row.halves_add_up:
            continue
        whole, loss = built(row, CLASSES), built(row, CLASSES)
        cut = IMAGES // 2
        if batch:
            loss.gather, cut = True, 4
        part = slice(0, cut) if rank == 0 else slice(cut, IMAGES)
        found = gradients(loss, part)
        expected = gradients(whole, slice(0, IMAGES))
        for mine, theirs in zip(found, expected, strict=True):
            dist.all_reduce(mine)
            torch.testing.assert_close(mine / 2, theirs, atol=1e-10, rtol=0)
        if rank == 0:
            print(cls.__name__)
    leave()


if __name__ == "__main__":
    main()
