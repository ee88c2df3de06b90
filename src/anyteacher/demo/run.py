"""Runs the studies of the demonstration and writes their results and the page."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from anyteacher.demo.depth import run_depth, shown
from anyteacher.demo.digits import run_digits
from anyteacher.demo.outcome import Outcome
from anyteacher.demo.page import make_page, table
from anyteacher.demo.plan import DEPTH, DIGITS, Study, quick
from anyteacher.images import replacing
from anyteacher.report import machine_facts, print_table, write_page


def run_demo(folder: Path, *, short: bool = False) -> Path:
    """Runs both studies; writes `results.json` and `report.html`, and prints the tables.

    Args:
        folder: Where to write.
        short: Whether to run far too few steps to mean anything, to see that everything works.

    Returns:
        The page.
    """
    console = Console()
    start = time.monotonic()
    studies = [quick(study) if short else study for study in (DEPTH, DIGITS)]
    with _progress(studies, console) as step:
        outcomes = [run_study(study, step) for study in studies]
    minutes = (time.monotonic() - start) / 60
    path = folder / "report.html"
    write_page(make_page(outcomes, minutes=minutes, short=short), path)
    record = {
        "short": short,
        "machine": machine_facts(),
        "studies": [outcome.record() for outcome in outcomes],
    }
    with replacing(folder / "results.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")
    for outcome in outcomes:
        print_table(table(outcome), console)
    if short:
        console.print("These runs were far too short: the numbers mean nothing yet.")
    console.print(f"Took {minutes:.1f} minutes. Look at {path}", highlight=False)
    return path


def run_study(study: Study, step: Callable[[str], None]) -> Outcome:
    """Trains and tests every arm with every seed; `step` is told of each training step."""
    run = run_depth if study.name == "depth" else run_digits
    outcome = Outcome(study, {arm.name: [] for arm in study.arms})
    for seed in study.seeds:
        for arm in study.arms:
            outcome.runs[arm.name].append(run(study, arm, seed, step))
    if study.name == "depth":
        outcome.images, outcome.targets = shown(study, study.seeds[0])
    return outcome


@contextmanager
def _progress(studies: Sequence[Study], console: Console) -> Iterator[Callable[[str], None]]:
    total = sum(len(s.arms) * len(s.seeds) * s.steps for s in studies)
    columns = (
        TextColumn("{task.description:32s}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=total)
        yield lambda label: bar.update(task, advance=1, description=label)
