"""Compiles whole training steps of links in closed form and compares them with plain ones.

Prints what gives the same. A program of its own: the run-time checks of the tests are not for
compiled code.
"""

import copy

import torch
from torch import nn

import anyteacher as at
from anyteacher.projectors import ClosedForm


def made(**settings) -> at.Distiller:
    torch.manual_seed(0)
    student, teacher = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 6, 3, 2, 1)
    link = at.Link("", "", projector=ClosedForm(bias=True, **settings), name="fit")
    return at.Distiller(student, teacher, [link], example=torch.rand(2, 3, 8, 8))


def trained(distiller: at.Distiller, compiled: bool) -> list[torch.Tensor]:
    optimizer = torch.optim.SGD(distiller.trainable_parameters(), lr=0.1)

    def step(images):
        output = distiller(images)
        return output.prediction.square().mean() + output.total

    # The back end's own code generation is not at stake, and takes long.
    run = torch.compile(step, backend="aot_eager", fullgraph=True) if compiled else step
    generator = torch.Generator().manual_seed(1)
    values = []
    for _ in range(3):
        loss = run(torch.rand(2, 3, 8, 8, generator=generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.detach())
    return [*values, *distiller.parameters(), *distiller.buffers()]


def main() -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    for name, settings in {"batch": {}, "averages": {"decay": 0.7}}.items():
        torch._dynamo.reset()
        base = made(**settings)
        pairs = zip(trained(copy.deepcopy(base), True), trained(base, False), strict=True)
        for mine, expected in pairs:
            torch.testing.assert_close(mine, expected, atol=1e-10, rtol=0)
        print(name)
    torch._dynamo.reset()
    few = made(decay=0.7)
    run = torch.compile(few, backend="aot_eager", fullgraph=True)
    assert run(torch.rand(1, 3, 4, 4)).losses["fit"].isnan()
    print("few")


if __name__ == "__main__":
    main()
