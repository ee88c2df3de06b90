"""The page of the demonstration: what was run, what came of it, and nothing that was not found."""

from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

import torch
from torch import Tensor

from anyteacher import pictures
from anyteacher.demo.outcome import Outcome
from anyteacher.demo.plan import Study
from anyteacher.report import (
    Block,
    Facts,
    Interval,
    IntervalChart,
    LineChart,
    Page,
    Pictures,
    Scale,
    Section,
    Series,
    Table,
    machine_facts,
    png,
    usable_cores,
)

_LARGEST_ERROR = 0.5  # of the true depth; the end of the colour scale
_ENLARGED = 2


def make_page(outcomes: Sequence[Outcome], *, minutes: float, jobs: int, short: bool) -> Page:
    """The whole page."""
    intro = (
        "Can a teacher of another task, or one that was never trained, help a small student? Each "
        "student below differs from the first of its study in the teacher and the direction of "
        "the projection: same seeds, same data, same number of steps. How strongly it is taught "
        "and what of the features is compared was chosen for each on validation data with other "
        "seeds, and is told at the end.\n\n"
        "`inverted` projects the teacher's features into the student's space, `traditional` the "
        "student's into the teacher's."
    )
    if short:
        intro = (
            "This was a quick run: far too few steps for the numbers to mean anything.\n\n" + intro
        )
    sections = [_section(outcome) for outcome in outcomes]
    sections.append(Section("How it was run", "", [_facts(outcomes, minutes, jobs, short)]))
    return Page("anyteacher: what a teacher of another task does", intro, sections)


def _section(outcome: Outcome) -> Section:
    study = outcome.study
    blocks: list[Block] = [table(outcome), _intervals(outcome), _curves(outcome)]
    if study.name == "depth":
        blocks[1:1] = _depth_pictures(outcome)
        text = (
            f"A student of depth from {study.train_size} generated rooms of 64 x 64 pixels, tested "
            f"on {study.test_size} others. The teachers know nothing of depth: one was trained for "
            "semantic segmentation of such rooms, the other was never trained. The features of the "
            "deepest stage of both are compared."
        )
        return Section("Depth from generated rooms", f"{text}\n\n{finding(outcome)}", blocks)
    text = (
        f"A small network learns scikit-learn's handwritten digits, real images of 8 x 8 pixels, "
        f"from {study.train_size} labelled ones, and is tested on 400. The teacher is a wider "
        "network that was never trained. The features of the last stage of both are compared."
    )
    return Section("Handwritten digits", f"{text}\n\n{finding(outcome)}", blocks)


def finding(outcome: Outcome) -> str:
    """What the intervals show, arm by arm; the same words whoever wins."""
    words = {
        "better": "is better than the student alone",
        "worse": "is worse than the student alone",
        "undecided": "cannot be told from the student alone by so few seeds",
    }
    parts = [
        f"{name} {words[paired.verdict]}" for name, paired in outcome.against_baseline().items()
    ]
    return f"By the 95 % intervals: {'; '.join(parts)}."


def _scaled(study: Study) -> tuple[str, float, int]:
    """The label of the deciding metric, the factor it is shown with, and its decimals."""
    if study.name == "depth":
        return "AbsRel", 1.0, 4
    return "accuracy, %", 100.0, 2


def table(outcome: Outcome) -> Table:
    """Every arm: mean and deviation over the seeds, and the paired difference from the first."""
    study, pairs = outcome.study, outcome.against_baseline()
    label, factor, decimals = _scaled(study)
    rows: list[tuple[str | float, ...]] = []
    for arm in study.arms:
        values = [factor * value for value in outcome.values(arm, study.metric)]
        paired = pairs.get(arm.name)
        difference = won = ""
        if paired is not None:
            mean, low, high = (factor * end for end in (paired.mean, paired.low, paired.high))
            difference = f"{mean:+.{decimals}f} [{low:+.{decimals}f}, {high:+.{decimals}f}]"
            difference = difference.replace("-", "−")  # as in the chart
            won = f"{round(paired.won * paired.seeds)} of {paired.seeds}"
        mean_and_deviation = f"{fmean(values):.{decimals}f} ± {stdev(values):.{decimals}f}"
        seconds = fmean(run.seconds for run in outcome.runs[arm.name])
        rows.append((arm.name, mean_and_deviation, difference, won, round(seconds, 1)))
    better = "Smaller" if study.mode == "min" else "Larger"
    return Table(
        ("student", f"test {label}", "difference [95 %]", "won", "seconds"),
        rows,
        f"{study.name.capitalize()}: {len(study.seeds)} seeds, {study.steps} steps each",
        f"{better} {label.partition(',')[0]} is better. ± is the standard deviation over the "
        "seeds. The difference from the first student is paired by seed, with Student's 95 % "
        "interval; won counts the seeds. The seconds are those of one training, on a machine that "
        "may have been busy.",
        decimals=1,
    )


def _intervals(outcome: Outcome) -> IntervalChart:
    label, factor, decimals = _scaled(outcome.study)
    rows = [
        Interval(name, factor * p.mean, factor * p.low, factor * p.high, decimals)
        for name, p in outcome.against_baseline().items()
    ]
    return IntervalChart(
        "Against the student alone",
        f"difference in test {label}",
        rows,
        outcome.study.mode,
        "Mean of the paired differences and its 95 % interval.",
    )


def _curves(outcome: Outcome) -> LineChart:
    label, factor, _ = _scaled(outcome.study)
    series = []
    for arm in outcome.study.arms:
        curves = [dict(run.curve) for run in outcome.runs[arm.name]]
        steps = sorted(set.intersection(*(set(curve) for curve in curves)))
        means = [factor * fmean(curve[step] for curve in curves) for step in steps]
        series.append(Series(arm.name, [step + 1 for step in steps], means))
    return LineChart(
        "On the validation data during training",
        "training step",
        f"validation {label}",
        series,
        note="Mean over the seeds.",
    )


def depth_columns(outcome: Outcome) -> dict[str, Tensor]:
    """Input, truth and each student's depth of the first test scenes, (n, 3, H, W) each."""
    predictions = {name: runs[0].predictions for name, runs in outcome.runs.items()}
    return {
        "input": pictures.image(outcome.images),
        "truth": pictures.depth(outcome.targets),
        **{name: pictures.depth(depth, outcome.targets) for name, depth in predictions.items()},
    }


def _depth_pictures(outcome: Outcome) -> list[Pictures]:
    truth = outcome.targets
    errors = {"input": pictures.image(outcome.images)}
    for name, runs in outcome.runs.items():
        relative = (runs[0].predictions - truth).abs() / truth.clamp(min=1e-6)
        known = torch.where(truth > 0, relative, torch.nan)
        errors[name] = pictures.error(known, _LARGEST_ERROR)
    depths = depth_columns(outcome)
    return [
        Pictures(
            tuple(depths),
            _rows(depths.values()),
            f"Depth of the first test scenes, seed {outcome.study.seeds[0]}",
            "Colours span each scene's true range of depth, in equal ratios.",
            [Scale("depth", "far", "near", pictures.scale_table("depth"))],
        ),
        Pictures(
            tuple(errors),
            _rows(errors.values()),
            "Where each student is wrong",
            "The difference from the true depth as a share of it.",
            [
                Scale(
                    "relative error",
                    "0",
                    f"{_LARGEST_ERROR:.0%} or more",
                    pictures.scale_table("error"),
                )
            ],
        ),
    ]


def _rows(columns: Iterable[Tensor]) -> list[tuple[str, list[bytes]]]:
    return [
        (f"scene {index}", [png(_enlarged(picture)) for picture in scene])
        for index, scene in enumerate(zip(*columns, strict=True), 1)
    ]


def _enlarged(picture: Tensor) -> Tensor:
    return picture.repeat_interleave(_ENLARGED, 1).repeat_interleave(_ENLARGED, 2)


def _facts(outcomes: Sequence[Outcome], minutes: float, jobs: int, short: bool) -> Facts:
    runs = sum(len(runs) for outcome in outcomes for runs in outcome.runs.values())
    weights = {
        f"links, {o.study.name}": "; ".join(
            f"{arm.name}: weight {arm.weight:g}, {arm.compare}"
            for arm in o.study.arms
            if arm.teacher != "none"
        )
        for o in outcomes
    }
    seeds = {
        f"seeds, {o.study.name}": f"{o.study.seeds[0]} to {o.study.seeds[-1]}" for o in outcomes
    }
    return Facts(
        {
            "command": f"anyteacher demo{' --quick' if short else ''}",
            "trainings": f"{runs} in {minutes:.1f} minutes, {jobs} at a time on one thread each",
            "cores": str(usable_cores()),
            **seeds,
            **weights,
            # Without its count of threads, which is not that of the trainings.
            **{name: fact for name, fact in machine_facts().items() if name != "cores"},
        }
    )
