"""Runs of the benchmark that are as short as can be."""

from collections.abc import Callable
from typing import Any

from anyteacher.bench.cell import Arm, Cell
from anyteacher.bench.claims import REGULARISER
from anyteacher.bench.grid import Grid, Scale
from anyteacher.bench.plan import Plan
from anyteacher.bench.problems import Budget, problem
from anyteacher.bench.record import Record

TINY = Budget(steps=4, batch=8, pixels=16, val=8, test=8, looks=2)
ALONE = Arm("depth", 16, "tiny")
TAUGHT = Arm("depth", 16, "tiny", "random", "tiny", "inverted", "inverted")

GRID = Grid(
    "tiny",
    tasks=("depth", "segmentation", "digits"),
    teachers=("depth", "segmentation"),
    methods=("inverted", REGULARISER),
    scales=(Scale(16, TINY, 20, TINY),),
    student="tiny",
    teacher="tiny",
    teacher_images=16,
    teacher_budget=TINY,
    teacher_lr=2e-3,
    seeds=5,
    selection_seeds=2,
    lrs=(0.001, 0.01),
    decays=(0.05,),
    weights=(0.1, 1.0),
    taps=("deep",),
    forms=("own", "pooled"),
)
"""Claims of two tasks of the rooms and of the digits, as small as can be."""


def pretended(cell: Cell, status: str = "done", **values: Any) -> Record:
    """A record as if a cell had been run."""
    posed = problem(cell.arm.task)
    given = {
        "val": {posed.monitor: 0.5},
        "test": {} if cell.stage == "selection" else {posed.monitor: 0.5},
        "seconds": {"fit": 2.0, "steps": 1.0, "validation": 0.5},
        "memory": {"host": 2**30},
        "machine": {"device": "CPU", "processor": "none", "PyTorch": "2.0", "anyteacher": "0"},
        "commit": "abc",
        **values,
    }
    if status != "done":
        given = {"error": "it ended"}
    return Record(
        cell.key,
        status,
        cell.description(),
        cell.settings(),
        monitor=posed.monitor,
        mode=posed.mode,
        **given,
    )


def ran(
    grid: Grid, measure: Callable[[Cell], Record] = pretended, records: Any = None
) -> dict[str, Record]:
    """The records of a whole grid, as if every cell had given what `measure` says."""
    records = dict(records or {})
    while ready := [cell for cell in Plan(grid, records).ready() if cell.key not in records]:
        records |= {cell.key: measure(cell) for cell in ready}
    return records


_NOISE = (0.003, -0.002, 0.0005, 0.002, -0.001)
RANKS = {"spectra/a/projector_rank": [(0, 9.0), (3, 2.0)], "spectra/a/directions": [(3, 8.0)]}
"""Of a projector: first more than it could be, and in the end a quarter of that."""


def _gave(cell: Cell, value: float) -> Record:
    """A record whose metric on the test data, where they are read, is a value."""
    test = {} if cell.stage == "selection" else {pretended(cell).monitor: value}
    return pretended(cell, test=test, curves=RANKS if cell.arm.method else {})


def measure(cell: Cell) -> Record:
    """A record whose metric is a fifth smaller in the inverted direction; the rank is a quarter."""
    return _gave(cell, 0.5 - 0.1 * (cell.arm.direction == "inverted") + _NOISE[cell.seed % 5])


def measured(task: str = "depth", **by_direction: float) -> Callable[[Cell], Record]:
    """Says of a cell of a task what its direction is given, of others 0.5; with noise of its arm.

    The ranks are a quarter.
    """

    def measure(cell: Cell) -> Record:
        value = by_direction.get(cell.arm.direction, 0.5) if cell.arm.task == task else 0.5
        return _gave(cell, value + _NOISE[cell.seed % 5] * (1 + (0.3 * len(cell.arm.name)) % 2))

    return measure
