"""What a run logs: a CSV that survives interruptions, and reading it again."""

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from anyteacher.errors import DataError
from anyteacher.observation import Observation

Curve = list[tuple[int, float]]
_Row = tuple[str, str, str]
_COLUMNS = ("step", "name", "value")

MOST_VALUES = 64
"""How many of a projector's singular values are logged of one look."""


class CurveLogger(Logger):  # type: ignore[misc]
    """Appends every number to one CSV with the columns step, name, value.

    One line a number: new names need no new columns, and a resumed run appends. What it logs again,
    of the steps between its last checkpoint and its interruption, is written where it differs.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._last: list[_Row] = []
        self._former: set[_Row] | None = None  # of this step and later ones, once it is known

    @property
    def name(self) -> str:
        """No folder of its own."""
        return ""

    @property
    def version(self) -> str:
        """No folder of its own."""
        return ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the whole configuration lies beside the file."""

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Appends the numbers of one step, in a single write; the same again are one entry."""
        if self._former is None:
            self._former = _mended(self.path, step or 0)
        rows = [(str(step), name, repr(float(v))) for name, v in metrics.items() if name != "epoch"]
        if rows == self._last:
            return
        self._last = rows
        rows = [row for row in rows if row not in self._former]
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerows([_COLUMNS, *rows] if new else rows)


def _mended(path: Path, start: int) -> set[_Row]:
    """Cuts an incomplete last line off a log that is gone on with.

    Returns:
        Its entries from a step on.

    Raises:
        DataError: when it cannot be read, as where a disk has failed.
    """
    if not path.exists():
        return set()
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if not whole:
        path.unlink()
    elif len(whole) < len(content):
        os.truncate(path, len(whole))
    try:
        rows = [row for row in _rows(whole) if len(row) == len(_COLUMNS) and row[0].isdigit()]
    except csv.Error as error:
        raise DataError(
            f"The run cannot go on with its log '{path}', which cannot be read ({error}). Move it "
            "away: the checkpoints are whole by themselves, and a new log begins."
        ) from error
    return {(step, name, value) for step, name, value in rows if int(step) >= start}


def _rows(content: bytes) -> Iterator[list[str]]:
    """The lines of a log, but for a last one that was cut short."""
    text = content[: content.rfind(b"\n") + 1].decode(errors="replace")
    return csv.reader(io.StringIO(text, newline=""))


class Begin(Callback):  # type: ignore[misc]
    """Makes the run's folder and its logs once everything is set up.

    A run that cannot begin, for want of a tap or of channels, so leaves nothing behind.

    Args:
        folder: Of the run.
        loggers: Which write into it.
        afresh: Files of a former attempt that are no part of this run.
    """

    def __init__(self, folder: Path, loggers: Sequence[Logger], afresh: Sequence[Path]) -> None:
        self.folder, self.loggers, self.afresh = folder, list(loggers), afresh

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hands the loggers to the trainer, which has waited for them."""
        if trainer.fast_dev_run:
            return
        if trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.afresh:
                path.unlink(missing_ok=True)
        trainer.loggers = self.loggers


# A run of few steps is looked at, too, and what happens first happens quickly.
_EARLY = (10, 20, 50)


class Interval:
    """Every so many training steps, and once for the batches that make up a step together.

    Where there are many steps between two times, also at the first 10, 20 and 50.

    Args:
        steps: Between two times; 0 for never.
    """

    def __init__(self, steps: int) -> None:
        self.steps, self._last = steps, -1

    def at(self, step: int) -> bool:
        """Whether it is time, at a step that was not asked for before."""
        time = self.steps > 0 and (step % self.steps == 0 or (step in _EARLY and step < self.steps))
        due = time and step != self._last
        self._last = step
        return due


class Waiting(Callback):  # type: ignore[misc]
    """Logs `time/waiting`, the share of an epoch's training time that was spent waiting for data.

    The only number in the logs that two equal runs do not share. A GPU may still compute while its
    process waits: then the share is more than what data hold it back.
    """

    def __init__(self) -> None:
        self._worked = self._start = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to count."""
        self._worked = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        """The batch is there."""
        self._start = perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        """The step is done."""
        self._worked += perf_counter() - self._start

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the share."""
        waited = float(getattr(trainer.train_dataloader, "waited", 0.0))
        share = waited / max(waited + self._worked, 1e-9)
        for logger in trainer.loggers:
            logger.log_metrics({"time/waiting": share}, trainer.global_step - 1)


class Clock(Callback):  # type: ignore[misc]
    """Counts the seconds of training steps and of validations, of a resumed run all of them.

    Attributes:
        seconds: `steps`, from a batch that is there to the end of its step, and `validation`.
    """

    def __init__(self) -> None:
        self.seconds = {"steps": 0.0, "validation": 0.0}
        self._step = self._validation = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        """The batch is there."""
        self._step = perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        """The step is done."""
        self.seconds["steps"] += perf_counter() - self._step

    def on_validation_start(self, *_: Any) -> None:
        """The validation begins."""
        self._validation = perf_counter()

    def on_validation_end(self, *_: Any) -> None:
        """The validation is done."""
        self.seconds["validation"] += perf_counter() - self._validation

    def state_dict(self) -> dict[str, float]:
        """The seconds so far, for the checkpoint."""
        return dict(self.seconds)

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Goes on counting."""
        self.seconds = dict(state)


def log_observations(
    loggers: Sequence[Logger], observations: Mapping[str, Observation], step: int
) -> None:
    """Logs what links were seen to do, as `spectra/LINK/…`.

    The terms of the decomposition, `transfer`, `regularisation` and `total`; the effective ranks
    `projector_rank` and `student_rank` (not centred); `energy`, its shares `transfer_share` and
    `regularisation_share`; `cka`; `centred_rank`; `energy_left` and `rank_left` of the first
    observation. The projector's singular values that are more than rounding are a histogram for
    TensorBoard, and `singular_values/0`, `singular_values/1`, … in the CSV, to six digits; of more
    than `MOST_VALUES`, so many that are evenly spread, with the first and the last, each under its
    own number.
    """
    for name, observation in observations.items():
        numbers = _numbers(observation)
        terms = observation.decomposition
        spectrum: list[float] = []
        if terms is not None:  # of a projector of zeros, one
            spectrum = terms.singular_values[: max(1, int(terms.rank))].tolist()
        for logger in loggers:
            logger.log_metrics({f"spectra/{name}/{key}": v for key, v in numbers.items()}, step)
            if isinstance(logger, TensorBoardLogger) and spectrum:
                tag = f"spectra/{name}/singular_values"
                logger.experiment.add_histogram(tag, torch.tensor(spectrum), step)
            elif isinstance(logger, CurveLogger):
                values = {
                    f"spectra/{name}/singular_values/{i}": float(f"{spectrum[i]:.6g}")
                    for i in spread(len(spectrum), MOST_VALUES)
                }
                logger.log_metrics(values, step)


def spread(count: int, most: int) -> list[int]:
    """At most so many of the places 0 to count - 1, evenly spread, both ends among them.

    >>> spread(3, 5), spread(10, 4)
    ([0, 1, 2], [0, 3, 6, 9])
    """
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def _numbers(observation: Observation) -> dict[str, float]:
    found = {
        "energy": observation.energy,
        "centred_rank": observation.centred_rank,
        "energy_left": observation.energy_left,
        "rank_left": observation.rank_left,
    }
    terms = observation.decomposition
    if terms is not None:
        found |= {
            "transfer": terms.transfer,
            "regularisation": terms.regularisation,
            "total": terms.total,
            "projector_rank": terms.projector_rank,
            "student_rank": terms.student_rank,
            "transfer_share": terms.transfer_share,
            "regularisation_share": terms.regularisation_share,
            "cka": terms.cka,
        }
    return {name: float(value) for name, value in found.items()}


def read_curves(path: Path) -> dict[str, Curve]:
    """Every logged number by name, in the order of its steps; of a repeated step, the last.

    A last line without its end was cut short when the run was stopped, and is left out.

    Raises:
        DataError: when there is no such file, it is empty or no log, or a line cannot be read.
    """
    if not path.is_file():
        raise DataError(f"There is no log at '{path}'. Give the folder of a finished run.")
    content = path.read_bytes()
    named, (first, *others) = ",".join(_COLUMNS), content.split(b"\n", 1)
    head = first.removesuffix(b"\r").decode(errors="replace")
    if head != named and (others or not named.startswith(head)):
        raise DataError(
            f"'{path}' cannot be read: it is no log, whose first line is {named}. {_ELSE}"
        )
    lines = _rows(content)
    next(lines, None)
    curves: dict[str, dict[int, float]] = {}
    try:
        for row in lines:
            _take(row, curves, path)
    except csv.Error as error:
        raise DataError(f"'{path}' cannot be read ({error}). {_ELSE}") from error
    if not curves:
        raise DataError(f"'{path}' is empty: nothing was logged, or the file was cut off. {_ELSE}")
    return {name: sorted(values.items()) for name, values in curves.items()}


_ELSE = "Copy it again from where the run was trained, or leave the run out."


def _take(row: Sequence[str], curves: dict[str, dict[int, float]], path: Path) -> None:
    """Puts the entry of a line into its curve."""
    try:
        step, name, value = row
        curves.setdefault(name, {})[int(step)] = float(value)
    except ValueError as error:
        raise DataError(f"'{path}' has a line that is no log entry: {row}.") from error
