"""Compiles every regulariser with its backward, and prints those that give the same."""

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[1] / "contracts"))
from rows.regularizers import TABLE, built, feature


def main() -> None:
    torch.set_num_threads(1)
    for name in TABLE:
        torch._dynamo.reset()
        results = []
        for compiled in (False, True):
            regularizer, values = built(name), []
            run = regularizer
            if compiled:
                # The back end's own code generation is not at stake, and takes long.
                run = torch.compile(regularizer, fullgraph=True, backend="aot_eager")
            for scale in (1.0, 2.0):
                x = (scale * feature(name)).detach().requires_grad_()
                value = run(x)
                value.backward()
                values += [value.detach(), x.grad]
            results.append([*values, *regularizer.state_dict().values()])
        for mine, theirs in zip(*results, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=1e-10)
        print(name)


if __name__ == "__main__":
    main()
