"""The losses of all levels at once, compiled or in two processes: `compiled`, `RANK FOLDER`.

Prints the names of those that give the same as they do by themselves.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from group import leave
from torch import nn

sys.path.append(str(Path(__file__).parents[1] / "contracts"))
from rows.levels import LEVEL_TABLE, LEVELS, sides


def compiled() -> None:
    for cls, row in LEVEL_TABLE.items():
        torch._dynamo.reset()
        results = []
        # The back end's own code generation is not at stake, and takes long.
        for run in (
            row.function,
            torch.compile(row.function, fullgraph=True, backend="aot_eager"),
        ):
            student, teacher = sides(LEVELS[0])
            result = run(student, teacher)
            result.backward()
            results.append([result.detach(), *(x.grad for x in student)])
        for mine, theirs in zip(*results, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=1e-10)
        print(cls.__name__)


def gradients(loss, shapes, part):
    """Of the loss of a part of the batch by the weights behind each level of each side."""
    torch.manual_seed(2)
    found, weights = [], []
    for side in sides(shapes):
        levels = []
        for x in side:
            layer = nn.Conv2d(x.shape[1], x.shape[1], 1).double()
            levels.append(layer(x.detach()[part]))
            weights += layer.parameters()
        found.append(levels)
    loss(*found).backward()
    return [weight.grad for weight in weights]


def parallel(rank: int, folder: Path) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2
    )
    shapes = [(4, 3, 4, 6), (4, 5, 2, 3), (4, 2, 2, 1)]
    for cls, row in LEVEL_TABLE.items():
        loss = row.make()
        found = gradients(loss, shapes, slice(0, 2) if rank == 0 else slice(2, 4))
        expected = gradients(loss, shapes, slice(0, 4))
        for mine, theirs in zip(found, expected, strict=True):
            dist.all_reduce(mine)
            torch.testing.assert_close(mine / 2, theirs, atol=1e-10, rtol=0)
        if rank == 0:
            print(cls.__name__)
    leave()


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "compiled":
        compiled()
    else:
        parallel(int(sys.argv[1]), Path(sys.argv[2]))
