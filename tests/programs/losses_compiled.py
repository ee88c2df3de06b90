"""Compiles every loss with its backward, and prints the names of those that give the same."""

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1] / "contracts"))
from rows.base import built, largest, pair, told
from rows.table import TABLE


def main() -> None:
    torch.set_num_threads(1)
    for cls, row in TABLE.items():
        if not row.compiles:
            continue
        torch._dynamo.reset()
        shape = largest(cls, row)
        loss = built(row, shape[1]).eval()
        extras = told(loss, shape[0], shape[2:])
        function = row.function or loss
        results = []
        # The back end's own code generation is not at stake, and takes long.
        for run in (function, torch.compile(function, fullgraph=True, backend="aot_eager")):
            student, teacher = pair(shape)
            torch.manual_seed(2)
            result = run(student, teacher, **extras)
            result.backward()
            results.append((result.detach(), student.grad))
        for mine, theirs in zip(*results, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=1e-10)
        print(cls.__name__)


if __name__ == "__main__":
    main()
