"""`anyteacher analyze`: reads runs, measures their features again, and writes the page."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from anyteacher.errors import AnyteacherError, ConfigError, DataError, NonFiniteError
from anyteacher.experiment import CONFIG, Experiment
from anyteacher.findings.arms import arms_of, compared, differences, grouped
from anyteacher.findings.detail import fitting
from anyteacher.findings.page import make_page
from anyteacher.findings.rebuilt import analysed
from anyteacher.findings.results import NOT_COMPARED, failed_text, paired_table, results_table
from anyteacher.findings.run import Finding, Run, read_runs
from anyteacher.hints import explain
from anyteacher.instantiation import instantiate
from anyteacher.link import Link
from anyteacher.report import print_table, say, write_page

PAGE = "analysis.html"
_REPLACED = " It replaces the one that was there; another `--output` keeps both."


def analyze(experiment_parser: Callable[[], ArgumentParser], settings: Namespace) -> int:
    """Analyses runs and writes the page.

    Args:
        experiment_parser: Makes a parser of the settings that a run's folder holds.
        settings: Those of the command.
    """
    if settings.images < 2:
        raise ConfigError(f"An analysis needs two images or more, got --images {settings.images}.")
    runs = read_runs(settings.runs)
    grouped(runs)  # says before the work if two are the same
    findings = _findings(experiment_parser, runs, settings.images)
    arms = arms_of(findings)
    if len(arms) == 1 and not any(finding.linked for finding in findings):
        raise ConfigError(
            f"There is nothing to analyse in '{runs[0].folder}': it has no links, and there is no "
            "other arm to compare it with. Give runs of different settings, or one with links."
        )
    comparison = compared(arms)
    print_table(results_table(arms, comparison))
    if len(arms) > 1 and comparison is None:
        say(NOT_COMPARED)
    elif len(arms) > 1 and comparison is not None:
        print_table(paired_table(arms, comparison))
        if comparison.failed:
            say(failed_text(comparison))
    path = settings.output or _beside(runs)
    differing = differences(arms)
    page = fitting(lambda detail: make_page(arms, comparison, differing, detail), len(runs))
    former = path.is_file()
    try:
        write_page(page, path)
    except OSError as error:
        raise DataError(f"'{path}' cannot be written ({error}).") from error
    say(f"The page is in {path}.{_REPLACED if former else ''}")
    return 0


def _findings(
    experiment_parser: Callable[[], ArgumentParser], runs: Sequence[Run], images: int
) -> list[Finding]:
    """What is measured of each run, one after the other: teachers may be large."""
    findings: dict[Path, Finding] = {}
    waiting: dict[Path, Experiment] = {}
    watched: list[Link] = []
    for run in runs:
        with _naming(run):
            made = _made(experiment_parser(), run)
            links = made.distillation.resolved()
            task = made.task
            empty = Finding(run, task.monitor, task.mode, bool(links), None)
            findings[run.folder] = (
                _measured(empty, made, images, alone=len(runs) == 1) if links else empty
            )
        watched += links
        if not links:
            waiting[run.folder] = made
    for run in runs:
        if run.folder in waiting:
            with _naming(run):
                findings[run.folder] = _measured(
                    findings[run.folder], waiting[run.folder], images, watched=watched
                )
    return [findings[run.folder] for run in runs]


def _measured(
    finding: Finding,
    made: Experiment,
    images: int,
    *,
    watched: Sequence[Link] = (),
    alone: bool = False,
) -> Finding:
    """A run with what is measured of it; features that are not finite do not stop other runs."""
    try:
        found = analysed(made, finding.run.folder, images=images, watched=watched)
    except NonFiniteError as error:
        if alone:
            raise
        return replace(finding, failure=str(error))
    return replace(finding, analysis=found)


def _made(parser: ArgumentParser, run: Run) -> Experiment:
    """The experiment that a run's own settings make, with its teachers."""
    try:
        settings = parser.parse_args([f"--config={run.folder / CONFIG}"])
    except ArgumentError as error:
        raise ConfigError(explain(str(error), parser)) from error
    made, _ = instantiate(parser, settings)
    return made


@contextmanager
def _naming(run: Run) -> Iterator[None]:
    """Says of which run an error is."""
    try:
        yield
    except AnyteacherError as error:
        raise type(error)(f"The run in '{run.folder}' cannot be analysed: {error}") from error


def _beside(runs: Sequence[Run]) -> Path:
    """The page of one run lies in its folder, that of several in the folder around the first."""
    folder = runs[0].folder
    return (folder if len(runs) == 1 else folder.parent) / PAGE
