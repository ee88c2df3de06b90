"""What spectral losses cost: against a decomposition of the features, and against their floor.

    python -m benchmarks.spectral            # about five minutes
    python -m benchmarks.spectral --quick    # about a minute, rough

The floor is two products of n d^2 multiply-adds: the Gram matrix, and one for the gradient. See
docs/benchmarks.md for how ratios are measured.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyteacher.distillation import Distillation
from anyteacher.errors import require
from anyteacher.layout import to_rows
from anyteacher.regularizers import EffectiveRank, LogDet, NuclearNorm, Regularizer, TrailingEnergy
from anyteacher.report import Table
from anyteacher.spectral import top_subspace, tracked_trailing_energy, trailing_energy
from benchmarks.command import run
from benchmarks.following import STEPS, nearness
from benchmarks.memory import peak_bytes
from benchmarks.timing import Rounds, Settings
from benchmarks.workloads import PAIRS, Pair, Steps

ROWS = 16384
SIZES = ((64, 16), (128, 32), (256, 64), (512, 64), (512, 128), (512, 256), (1024, 256))  # d, r
GRID = ((1024, 4096, 16384), (64, 256, 1024))
SPEED_GOAL, FLOOR_GOAL, SHARE_GOAL, OBSERVED_GOAL = 5, 2, 0.02, 0.01


class Ways:
    """The trailing energy of one feature matrix and its gradient, in several ways.

    - `floor`: two products of n d^2, the Gram matrix and one for the gradient.
    - `exact`, `followed`: this library, with an eigendecomposition and with the power method.
    - `svdvals`: torch's gradient through the singular values of the features.
    """

    def __init__(self, rows: int, width: int, rank: int, device: str = "cpu") -> None:
        self.rank = rank
        scales = torch.arange(1, width + 1, device=device) ** -0.5
        self.z = (torch.randn(rows, width, device=device) * scales).requires_grad_()
        self.basis = top_subspace(self.z.detach().mT @ self.z.detach(), self.rank)[0]

    def floor(self) -> Tensor:
        """What must be computed; not the gradient of anything."""
        z = self.z.detach()
        return z @ (z.mT @ z)

    def gradient(self, value: Tensor) -> Tensor:
        """Of the features."""
        return torch.autograd.grad(value, self.z)[0]

    def exact(self) -> Tensor:
        """See `trailing_energy`."""
        return self.gradient(trailing_energy(self.z, self.rank))

    def followed(self) -> Tensor:
        """See `tracked_trailing_energy`."""
        return self.gradient(tracked_trailing_energy(self.z, self.rank, self.basis)[0])

    def svdvals(self) -> Tensor:
        """The same number from the singular values."""
        squares = torch.linalg.svdvals(self.z)[self.rank :].square()
        return self.gradient(squares.sum() / self.z.numel())

    def sides(self, *names: str) -> dict[str, Callable[[], Tensor]]:
        """Some ways by name."""
        return {name: getattr(self, name) for name in names}


def against_svdvals(rows: int, sizes: Sequence[tuple[int, int]], settings: Settings) -> Table:
    """Table of the library against torch's own gradient and against the floor."""
    lines: list[list[str | float]] = []
    for width, rank in sizes:
        ways = Ways(rows, width, rank, settings.device)
        sides = ways.sides("floor", "exact", "followed", "svdvals")
        rounds = Rounds(sides, settings, settings.seconds)
        extra = (peak_bytes(ways.exact, settings.device) - 4 * ways.z.numel()) / (4 * width**2)
        lines.append(
            [
                width,
                rank,
                rounds.milliseconds("exact"),
                str(rounds.ratio("svdvals", "exact")),
                str(rounds.ratio("svdvals", "followed")),
                str(rounds.ratio("exact", "floor")),
                str(rounds.ratio("followed", "floor")),
                f"{extra:.1f}",
                len(rounds.seconds["exact"]),
            ]
        )
    return Table(
        columns=[
            "d",
            "r",
            "exact ms",
            "svdvals / exact",
            "svdvals / followed",
            "exact / floor",
            "followed / floor",
            "memory, d²",
            "rounds",
        ],
        rows=lines,
        caption=f"Trailing energy of {rows} rows beyond r directions, and its gradient",
        note=f"Goals: svdvals / exact at least {SPEED_GOAL} at d = 512 and never below 1; exact / "
        f"floor at most {FLOOR_GOAL}. Below 1 is possible: half of a symmetric matrix is enough, "
        "and so are few directions. Median [95 % interval]. memory: the most held at once beyond "
        "the features and their gradient, in matrices of d x d numbers.",
    )


def against_size(rows: Sequence[int], widths: Sequence[int], settings: Settings) -> Table:
    """Table of the cost against the numbers of rows and channels."""
    lines: list[list[str | float]] = []
    for count in rows:
        for width in widths:
            ways = Ways(count, width, width // 4, settings.device)
            rounds = Rounds(
                ways.sides("floor", "exact", "followed"), settings, settings.seconds / 2
            )
            times = [rounds.milliseconds(side) for side in ("floor", "exact", "followed")]
            lines.append([count, width, *times, str(rounds.ratio("exact", "floor"))])
    return Table(
        columns=["n", "d", "floor ms", "exact ms", "followed ms", "exact / floor"],
        rows=lines,
        caption="Cost against the rows n and the channels d",
        note="r = d / 4. TrailingEnergy follows the subspace where `spectral.tracks` says so.",
    )


class Student:
    """A training step of a ResNet-18, and regularisers of its last stage."""

    def __init__(self, batch: int, size: int, device: str = "cpu") -> None:
        self.model = require("torchvision").models.resnet18().to(device).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.images = torch.rand(batch, 3, size, size, device=device)
        self.targets = torch.randint(1000, (batch,), device=device)
        kept: list[Tensor] = []
        handle = self.model.layer4.register_forward_hook(lambda m, a, out: kept.append(out))
        self.step()
        handle.remove()
        self.feature = kept[0].detach().requires_grad_()

    def step(self) -> None:
        """Forward, backward and AdamW."""
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(self.images), self.targets).backward()
        self.optimizer.step()

    def regularized(self, regularizer: nn.Module) -> Tensor:
        """Forward and backward of a regulariser, to the feature."""
        return torch.autograd.grad(regularizer(self.feature), self.feature)[0]


def share_of_step(batch: int, size: int, settings: Settings) -> Table:
    """Table of regularisers next to a whole training step."""
    student = Student(batch, size, settings.device)
    rows, width = to_rows(student.feature).shape
    made: dict[str, Regularizer] = {
        "TrailingEnergy(0.25)": TrailingEnergy(0.25),
        "TrailingEnergy(0.25, fraction, centre)": TrailingEnergy(0.25, fraction=True, centre=True),
        "TrailingEnergy(energy=0.9)": TrailingEnergy(energy=0.9),
        "NuclearNorm()": NuclearNorm(),
        "LogDet()": LogDet(),
        "EffectiveRank()": EffectiveRank(),
    }
    sides: dict[str, Callable[[], object]] = {"step": student.step}
    for name, regularizer in made.items():
        regularizer.build(width)
        sides[name] = partial(student.regularized, regularizer.to(settings.device))
    rounds = Rounds(sides, settings, 3 * settings.seconds)
    lines: list[list[str | float]] = [
        [name, rounds.milliseconds(name), str(rounds.ratio(name, "step"))] for name in made
    ]
    return Table(
        columns=["regulariser", "ms", "share of the step"],
        rows=lines,
        caption=f"Share of a step of ResNet-18, {size} px, batch {batch}: n = {rows}, d = {width}",
        note=f"Goal: at most {SHARE_GOAL}. The step alone takes "
        f"{rounds.milliseconds('step'):.0f} ms: forward, backward and AdamW, no teacher. "
        "Median [95 % interval].",
    )


def cost_of_observing(pairs: Sequence[Pair], settings: Settings) -> Table:
    """Table of steps whose features are looked at next to steps whose are not."""
    lines: list[list[str | float]] = []
    every = Distillation().observe_every
    for pair in pairs:
        steps = Steps(pair, settings.device)
        distiller, sides = steps.distillers["inverted"], steps.sides()
        looks = partial(distiller, steps.images, observe=True)
        seen = {
            "step": sides["inverted"],
            "without": partial(distiller, steps.images),
            "with": looks,
        }
        rounds = Rounds(seen, settings, 3 * settings.seconds)
        extra = rounds.milliseconds("with") - rounds.milliseconds("without")
        share = extra / rounds.milliseconds("step") / every
        lines.append([pair.name, rounds.milliseconds("step"), extra, f"{100 * share:.2f} %"])
    return Table(
        columns=["pair", "step ms", "extra ms", f"share at one step in {every}"],
        rows=lines,
        caption="Looking at the features of an inverted link",
        note=f"Goal: below {100 * OBSERVED_GOAL:.0f} %. extra: of a step that looks, the median of "
        "its forward pass less that of another.",
        decimals=1,
    )


def measure(settings: Settings, parts: list[str]) -> list[Table]:
    """The tables of the parts asked for."""
    tables = []
    if "svdvals" in parts:
        tables.append(against_svdvals(ROWS, SIZES, settings))
    if "size" in parts:
        tables.append(against_size(*GRID, settings))
    if "step" in parts:
        tables.append(share_of_step(64, 64, settings))
    if "observe" in parts:
        tables.append(cost_of_observing([make() for make in PAIRS], settings))
    if "follow" in parts:
        tables.append(nearness(STEPS, settings.seed))
    return tables


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints the tables, and writes them if asked."""
    run(arguments, __doc__, ["svdvals", "size", "step", "observe", "follow"], measure)


if __name__ == "__main__":
    main()
