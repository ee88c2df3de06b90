"""One run in one process: `anyteacher fit`, then `anyteacher test` where the test data are read."""

import json
import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import torch

from anyteacher.bench.cell import Cell
from anyteacher.bench.problems import problem
from anyteacher.bench.record import Record, Status, compact, write_record
from anyteacher.errors import NonFiniteError
from anyteacher.experiment import CURVES, INFO
from anyteacher.images import replacing
from anyteacher.instantiation import finished
from anyteacher.logs import Curve, read_curves
from anyteacher.report import machine_facts
from anyteacher.results import read_result

Command: TypeAlias = Callable[[str, list[str]], int]

_SETTINGS, _LOG = "cell.json", "log.txt"
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # what Linux takes to count a process's largest memory anew


def run_cell(cell: Cell, folder: Path, threads: int, call: Command) -> Record:
    """Trains, tests and records; what goes wrong is recorded, too, and does not stop the others.

    The run lies in `runs/KEY` of the benchmark's folder, which becomes the working folder of the
    process: so the paths in the settings are the same wherever that folder is. A run that was
    killed goes on. One that is done keeps its weights, settings and logs, and not its checkpoints.

    Args:
        cell: The run.
        folder: Of the benchmark.
        threads: Of torch on the CPU.
        call: Runs a subcommand of `anyteacher` with its arguments.
    """
    os.chdir(folder)
    run = Path(cell.folder)
    posed = problem(cell.arm.task)
    found: dict[str, Any] = {}
    commit = source_commit()  # before the run: a later one is not what it runs
    status: Status = "done"
    of_host = _forget_peaks()
    try:
        with _told_to(run / _LOG):
            found = _trained(cell, run, [f"--threads={threads}"], call)
    except NonFiniteError as error:
        status, found = "diverged", {"error": str(error)}
    except Exception as error:  # whatever it is: it is named in the end, and the others go on
        status, found = "failed", {"error": f"{type(error).__name__}: {error}"}
    record = Record(
        cell.key,
        status,
        cell.description(),
        cell.settings(),
        monitor=posed.monitor,
        mode=posed.mode,
        memory=_peaks(of_host),
        machine=machine_facts(),
        commit=commit,
        **found,
    )
    write_record(Path(), record)
    if status != "failed":
        for part in ("checkpoints", "tensorboard"):
            shutil.rmtree(run / part, ignore_errors=True)
    return record


def _trained(cell: Cell, run: Path, common: list[str], call: Command) -> dict[str, Any]:
    """What the commands leave of a run."""
    common = [*common, "--trainer.enable_progress_bar=false"]
    with replacing(run / _SETTINGS) as temporary:
        temporary.write_text(json.dumps(cell.settings(), indent=1) + "\n")
    start = time.perf_counter()
    call("fit", [f"--config={run / _SETTINGS}", f"--output={run}", "--resume", *common])
    seconds = {"fit": time.perf_counter() - start}
    seconds |= json.loads((run / INFO).read_text())["seconds"]
    test: dict[str, float] = {}
    if cell.stage != "selection":
        start = time.perf_counter()
        call("test", [str(run), *common])
        seconds["test"] = time.perf_counter() - start
        test = read_result(run, "test", finished(run)) or {}
    curves = read_curves(run / CURVES)
    posed = problem(cell.arm.task)
    return {
        "val": best_metrics(curves, posed.monitor, posed.mode),
        "test": test,
        "curves": compact(curves),
        "seconds": {part: round(value, 3) for part, value in seconds.items()},
    }


def best_metrics(curves: Mapping[str, Curve], monitor: str, mode: str) -> dict[str, float]:
    """The validation metrics of the weights that were kept: those of the first best step.

    Args:
        curves: Logged numbers by name.
        monitor: The metric that chose the weights.
        mode: Whether its smallest (`min`) or its largest (`max`) value is the best.
    """
    sign = 1 if mode == "max" else -1
    values = [(step, value) for step, value in curves[f"val/{monitor}"] if not math.isnan(value)]
    if not values:
        raise NonFiniteError(f"Every validation has given a {monitor} that is not a number.")
    best = max(values, key=lambda point: sign * point[1])[0]
    return {
        name.removeprefix("val/"): dict(curve)[best]
        for name, curve in curves.items()
        if name.startswith("val/") and best in dict(curve)
    }


@contextmanager
def _told_to(path: Path) -> Iterator[None]:
    """Inside, what is printed goes to a file: many runs share one terminal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as log, redirect_stdout(log), redirect_stderr(log):
        yield


def _forget_peaks() -> bool:
    """Counts the largest memory anew; whether the system can do so for that of the process."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        _RESET.write_text(_RESET_PEAK)
    except OSError:  # another system than Linux, or a container without the right to
        return False
    return True


def _peaks(of_host: bool) -> dict[str, int]:
    """The most memory that was held since it was forgotten, in bytes."""
    found = {}
    if of_host:
        rows = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        found["host"] = int(rows["VmHWM"].split()[0]) * 1024
    if torch.cuda.is_available():
        found["device"] = torch.cuda.max_memory_allocated()
    return found


@cache
def source_commit() -> str:
    """The commit of the source with `-dirty` behind it where files differ; empty in no checkout."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here)]
    try:
        asked = [*git, "ls-files", "--error-unmatch", Path(__file__).name]
        subprocess.run(asked, capture_output=True, check=True)
        described = [*git, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(described, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
