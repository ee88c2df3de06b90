"""Compiles whole training steps and compares them with plain ones; says so.

A program of its own: the run-time checks of the tests are not for compiled code.
"""

import copy

import torch
from torch import nn

import anyteacher as at


class Tokens(nn.Module):
    """A teacher of tokens with a class token in front."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 6)
        self.last = nn.Linear(6, 6)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([patches.mean(1, keepdim=True), patches], 1)
        return self.last(self.mix(tokens).relu())


def student() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 1)
    )


def losses_of(distiller, backend, steps=3):
    distiller.train()
    optimizer = torch.optim.SGD(distiller.trainable_parameters(), lr=0.1)

    def step(images):
        out = distiller(images)
        return out.prediction.square().mean() + out.total

    run = step if backend is None else torch.compile(step, backend=backend, fullgraph=True)
    values = []
    for seed in range(steps):
        images = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(seed))
        loss = run(images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    return values, int(distiller.step), [p.detach().clone() for p in distiller.parameters()]


def main() -> None:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)  # compilers may round in another order
    teachers = {
        "maps": at.Teacher(student(), norm=at.IMAGENET),
        "tokens": at.Teacher(Tokens(), size=(16, 16)),
    }
    links = [
        at.Link("1", "1", of="maps", warmup=5),
        at.Link("1", "mix", of="tokens", direction="traditional", teacher_norm="layer"),
        at.Link("0", "mix", of="tokens", loss=at.losses.LogSum(), name="pooled", compare="pooled"),
        at.Link("3", "mix", of="tokens", projector=at.projectors.Ensemble(2), name="ensemble"),
        at.Link("1", loss=at.regularizers.TrailingEnergy(2, start=4, steps=6), weight=0.5),
    ]
    torch.manual_seed(0)
    # Longer warm-ups than steps: the weight differs at each.
    base = at.Distiller(student(), teachers, links, example=torch.rand(2, 3, 8, 12))
    expected = losses_of(copy.deepcopy(base), None)
    found = losses_of(copy.deepcopy(base), "aot_eager")
    for mine, theirs in zip(found[2], expected[2], strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=0)
    torch.testing.assert_close(found[0], expected[0], atol=1e-10, rtol=0)
    assert found[1] == expected[1] == 3
    print("the same")


if __name__ == "__main__":
    main()
