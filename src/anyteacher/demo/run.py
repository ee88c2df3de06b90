"""Runs the studies of the demonstration and writes their results and the page."""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from anyteacher import pictures
from anyteacher.demo.depth import run_depth, shown
from anyteacher.demo.digits import run_digits
from anyteacher.demo.outcome import Outcome, Run
from anyteacher.demo.page import depth_columns, make_page, table
from anyteacher.demo.plan import DEPTH, DIGITS, Arm, Study, quick
from anyteacher.errors import AnyteacherError
from anyteacher.images import replacing
from anyteacher.report import machine_facts, print_table, usable_cores, write_page

# More jobs than this only wait for each other's memory.
_MOST_JOBS = 16


def run_demo(folder: Path, *, short: bool = False, jobs: int = 0) -> Path:
    """Runs both studies; writes `results.json`, `depth.png` and `report.html`; prints the tables.

    Every training runs on one thread, so that the results do not depend on the number of jobs.

    Args:
        folder: Where to write.
        short: Whether to run far too few steps to mean anything, to see that everything works.
        jobs: Trainings at a time; 0 for one a core.

    Returns:
        The page.
    """
    console = Console()
    start = time.monotonic()
    studies = [quick(study) if short else study for study in (DEPTH, DIGITS)]
    jobs = jobs or min(_MOST_JOBS, usable_cores())
    outcomes = run_studies(studies, jobs, console)
    minutes = (time.monotonic() - start) / 60
    path = folder / "report.html"
    write_page(make_page(outcomes, minutes=minutes, jobs=jobs, short=short), path)
    record = {
        "short": short,
        "jobs": jobs,
        "machine": machine_facts(),
        "studies": [outcome.record() for outcome in outcomes],
    }
    with replacing(folder / "results.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")
    for outcome in outcomes:
        print_table(table(outcome), console)
        if outcome.study.name == "depth":
            columns = depth_columns(outcome)
            scenes = list(zip(*columns.values(), strict=True))
            with replacing(folder / "depth.png") as temporary:
                pictures.grid(scenes, tuple(columns)).save(temporary)
    if short:
        console.print("These runs were far too short: the numbers mean nothing yet.")
    console.print(f"Took {minutes:.1f} minutes. Look at {path}", highlight=False)
    return path


def run_studies(studies: Sequence[Study], jobs: int, console: Console) -> list[Outcome]:
    """Trains and tests every arm of every study with every seed, under a progress bar."""
    wanted = [(study, arm, seed) for study in studies for seed in study.seeds for arm in study.arms]
    runs: dict[tuple[str, str, int], Run] = {}
    columns = (
        TextColumn("{task.description:42s}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} trainings"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # Fresh processes: a fork of one that has used threads may hang.
    pool = ProcessPoolExecutor(
        jobs, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    )
    with pool, Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=len(wanted))
        futures = {pool.submit(run_one, *one): one for one in wanted}
        try:
            for future in as_completed(futures):
                study, arm, seed = futures[future]
                label = f"{study.name}: {arm.name}, seed {seed}"
                try:
                    runs[study.name, arm.name, seed] = future.result()
                except AnyteacherError as error:
                    raise type(error)(f"{label}: {error}") from error
                bar.update(task, advance=1, description=label)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    outcomes = []
    for study in studies:
        by_arm = {a.name: [runs[study.name, a.name, s] for s in study.seeds] for a in study.arms}
        outcomes.append(Outcome(study, by_arm))
    for outcome in outcomes:
        if outcome.study.name == "depth":
            outcome.images, outcome.targets = shown(outcome.study, outcome.study.seeds[0])
    return outcomes


def run_one(study: Study, arm: Arm, seed: int) -> Run:
    """One training with its test."""
    run: Callable[[Study, Arm, int], Run] = run_depth if study.name == "depth" else run_digits
    return run(study, arm, seed)
