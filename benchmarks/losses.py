"""What each loss costs in each direction, and next to torchdistill: time and memory.

    python -m benchmarks.losses                    # about half an hour
    python -m benchmarks.losses --quick            # about a quarter of an hour, rough
    python -m benchmarks.losses AT SP memory       # some of them

A loss is called through a link on given features, projection included, forward and backward. All
of its directions, and the same loss of torchdistill, take turns in one process; see
`benchmarks.cost` for how the times are taken.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from anyteacher import Link, losses
from anyteacher.losses import DIRECTIONS, Loss
from anyteacher.report import Table
from benchmarks.cases import CASES, SHAPES, Case
from benchmarks.command import run
from benchmarks.links import LinkAlone, Shape
from benchmarks.memory import kept_bytes, peak_bytes
from benchmarks.rivals import MISSING, Rival, installed, rival
from benchmarks.timing import Ratio, Rounds, Settings

_NONE = "–"
_MIB = 2**20
COLUMNS = [
    "loss",
    "inverted ms",
    "traditional ms",
    "inverted / traditional",
    "none ms",
    "kept MiB",
    "peak MiB",
    "ours / torchdistill",
    "rounds",
]
NOTE = (
    "Forward and backward of a link. Median [95 % interval]; goal: at most 1, and ✗ where the "
    "whole interval is above 1, ? where only the median is. kept: what the forward holds for the "
    "backward, the features included. peak: the most that is allocated at once, beyond the "
    "features and parameters. Both as inverted | traditional | none. ours / torchdistill: in the "
    "direction that theirs has."
)


def table(features: str, cases: dict[str, Case], settings: Settings) -> Table:
    """Table of some losses on the features of one key of `SHAPES`."""
    rows, notes = [], [NOTE]
    if not installed():
        notes.append(MISSING)
    for name, case in cases.items():
        print(f"{features}: {name}", file=sys.stderr, flush=True)  # it takes a while
        alone = LinkAlone(SHAPES[features], settings.device, case.link)
        other = rival(name, alone) if installed() else ""
        notes.append(other if isinstance(other, str) else other.note)
        rows.append([name, *measured(alone, other, settings)])
    caption = f"Losses on features: {SHAPES[features]}"
    return Table(columns=COLUMNS, rows=rows, caption=caption, note=" ".join(filter(None, notes)))


def measured(alone: LinkAlone, other: Rival | str, settings: Settings) -> list[str | float]:
    """The cells of one loss, but for its name."""
    sides: dict[str, Callable[[], Any]] = {
        way: partial(alone.gradients, way) for way in alone.connections
    }
    ours = ""
    if isinstance(other, Rival):
        sides["theirs"] = partial(_gradients, other.theirs, other.wanted)
        ours = other.direction
        if other.ours is not None:
            ours = "ours"
            sides[ours] = partial(_gradients, other.ours, other.ours_wanted)
    rounds = Rounds(sides, settings, settings.seconds)
    times = {way: f"{rounds.milliseconds(way):.2f}" for way in alone.connections}
    both = {"inverted", "traditional"} <= set(sides)
    ratio = judged(rounds.ratio("inverted", "traditional")) if both else _NONE
    kept, peak = {}, {}
    for way in alone.connections:
        kept[way] = f"{kept_bytes(partial(alone.loss, way)) / _MIB:.1f}"
        peak[way] = f"{peak_bytes(sides[way], settings.device) / _MIB:.1f}"
    return [
        times.get("inverted", _NONE),
        times.get("traditional", _NONE),
        ratio,
        times.get("none", _NONE),
        *(" | ".join(cells.get(way, _NONE) for way in DIRECTIONS) for cells in (kept, peak)),
        judged(rounds.ratio(ours, "theirs")) if ours else _NONE,
        len(next(iter(rounds.seconds.values()))),
    ]


def judged(ratio: Ratio) -> str:
    """A ratio that should not be above 1, and whether it is."""
    return f"{ratio} ✗" if ratio.low > 1 else f"{ratio} ?" if ratio.median > 1 else str(ratio)


def _gradients(forward: Callable[[], Tensor], wanted: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(forward(), wanted)


@dataclass(frozen=True)
class Form:
    """A loss that has a Gram form, and the largest tensor of the form that has none."""

    make: Callable[[], Loss]
    naive: str
    numbers: Callable[[int, int, int], int]  # of images, channels and positions


_CHANNELS = partial(
    Form, naive="all pairs of channels: B C C HW", numbers=lambda b, c, n: b * c * c * n
)
_IMAGES = partial(
    Form, naive="all pairs of images: B B C HW", numbers=lambda b, c, n: b * b * c * n
)
FORMS = {
    "NST": _CHANNELS(losses.NST),
    "ICKD": _CHANNELS(losses.ICKD),
    "SP": _IMAGES(losses.SP),
    "CC": _IMAGES(losses.CC),
    "RKDAngle": _IMAGES(losses.RKDAngle),
}


def memory(shape: Shape, settings: Settings) -> Table:
    """Table of the peak memory of the losses that have a Gram form."""
    rows: list[list[str | float]] = []
    for name, form in FORMS.items():
        link = Link("", "", loss=form.make(), direction="none")
        alone = LinkAlone(replace(shape, times=1), settings.device, link)
        features = sum(4 * side[0].feature.numel() for side in (alone.student, alone.teacher))
        peak = peak_bytes(partial(alone.gradients, "none"), settings.device)
        size = 4 * form.numbers(shape.batch, shape.channels, shape.places**2)
        cells = [peak / _MIB, features / _MIB, peak / features, form.naive, size / _MIB]
        rows.append([name, *cells])
    return Table(
        columns=["loss", "peak MiB", "features MiB", "peak / features", "naive form", "naive MiB"],
        rows=rows,
        caption=f"Peak memory without projection: map {shape.places} x {shape.places} x "
        f"{shape.channels}, batch {shape.batch}",
        note="peak: forward and backward, beyond the features of both sides. naive: the one "
        "largest tensor of the form that does not go by Gram matrices, of one side, computed and "
        "not run.",
        decimals=1,
    )


def measure(settings: Settings, parts: list[str]) -> list[Table]:
    """The tables of the parts asked for."""
    settings = replace(settings, least_rounds=min(5, settings.least_rounds))  # some take a minute
    tables = []
    for features in SHAPES:
        cases = {n: c for n, c in CASES.items() if n in parts and features in c.features}
        if cases:
            tables.append(table(features, cases, settings))
    if "memory" in parts:
        tables.append(memory(Shape("map", 64, 512, 14), settings))
    return tables


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints the tables, and writes them if asked."""
    run(arguments, __doc__, [*CASES, "memory"], measure)


if __name__ == "__main__":
    main()
