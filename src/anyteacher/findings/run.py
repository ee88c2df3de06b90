"""One run's folder: its settings, what it logged, and what was measured of it."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from anyteacher.analysis import Analysis
from anyteacher.errors import ConfigError, require
from anyteacher.experiment import CONFIG, CURVES
from anyteacher.instantiation import finished, flattened
from anyteacher.logs import Curve, read_curves
from anyteacher.results import read_result

# Runs that differ in nothing else are runs of one arm: seeds, and what changes no number.
SEEDS = ("seed", "data.init_args.seed")
WITHOUT_EFFECT = (
    "threads",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "data.init_args.num_workers",
    "distillation.observe_every",
)


@dataclass(frozen=True)
class Run:
    """A finished run as it lies in its folder.

    Attributes:
        folder: Where.
        config: Its settings, as nested as in the file.
        curves: Every logged number by name.
        tested: The metrics that `anyteacher test` has left of its present weights, if any.
    """

    folder: Path
    config: dict[str, Any]
    curves: dict[str, Curve]
    tested: dict[str, float] | None = None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting that is not a seed and decides what comes out, by its dotted name."""
        flat = dict(flattened(self.config))
        return {name: v for name, v in flat.items() if name not in (*SEEDS, *WITHOUT_EFFECT)}

    @property
    def seeds(self) -> tuple[int, ...]:
        """Its seed, and that of its data where they have one: what pairs it with other runs."""
        flat = dict(flattened(self.config))
        return tuple(int(flat[name]) for name in SEEDS if flat.get(name) is not None)

    @property
    def seed_text(self) -> str:
        """The seeds for a reader: that of the data where it is neither 0 nor the same."""
        seed, *others = self.seeds
        return ", data ".join(map(str, [seed, *(s for s in others if s not in (0, seed))]))


@dataclass(frozen=True)
class Finding:
    """A run, and what was measured of it.

    Attributes:
        run: The run.
        monitor: The metric that chose its best weights.
        mode: Whether the smallest (`min`) or the largest (`max`) value is the best.
        linked: Whether it has links; else other runs' taps may have been measured.
        analysis: What was measured of its features; None where nothing was.
        failure: Why nothing was, where something should have been.
    """

    run: Run
    monitor: str
    mode: Literal["min", "max"]
    linked: bool
    analysis: Analysis | None
    failure: str = ""

    @property
    def validated(self) -> float | None:
        """The best value of that metric on the validation data; None where none was logged.

        Nan where every value is; else those that are count for nothing, as when the weights were
        chosen.
        """
        values = [value for _, value in self.run.curves.get(f"val/{self.monitor}", [])]
        known = [value for value in values if not math.isnan(value)]
        best = min if self.mode == "min" else max
        return best(known) if known else (math.nan if values else None)

    @property
    def tested(self) -> float | None:
        """Its value on the test data; None where the run was not tested."""
        return (self.run.tested or {}).get(self.monitor)


def read_run(folder: Path) -> Run:
    """Reads a run.

    Raises:
        ConfigError: when the folder holds no run, or one that is not finished.
        DataError: when a file of it cannot be read.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise ConfigError(
            f"'{folder}' is no run: it has no {CONFIG}. Give the folder of a run made by "
            "`anyteacher fit`."
        )
    weights = finished(folder, replaceable=False)
    yaml = require("yaml")
    try:
        config = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{path}' cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"'{path}' holds no settings. Give the folder of a run.")
    curves = read_curves(folder / CURVES)
    return Run(folder, config, curves, read_result(folder, "test", weights))


def read_runs(folders: list[Path]) -> list[Run]:
    """Reads runs, each of which must be given once.

    Raises:
        ConfigError: when one is given twice, holds no run, or is not finished.
    """
    seen: dict[Path, Path] = {}
    for folder in folders:
        place = folder.resolve()
        if place in seen:
            also = "" if folder == seen[place] else f", also as '{seen[place]}'"
            raise ConfigError(f"The run in '{folder}' is given twice{also}. Give every run once.")
        seen[place] = folder
    return [read_run(folder) for folder in folders]
