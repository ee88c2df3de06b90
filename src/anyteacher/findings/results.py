"""How the runs did: every run, and each arm against the first, with what the intervals show."""

import math
from collections.abc import Sequence

from anyteacher.findings import curves
from anyteacher.findings.arms import Arm, Comparison
from anyteacher.findings.detail import Detail
from anyteacher.report import Block, Interval, IntervalChart, Section, Table
from anyteacher.report.markup import signed

NOT_COMPARED = "The arms are not compared: they have no common metric, or a run has no value of it."
_VERDICTS = {
    "better": "is better than",
    "worse": "is worse than",
    "undecided": "cannot be told from",
}


def results_table(arms: Sequence[Arm], comparison: Comparison | None) -> Table:
    """Every run: its arm, its seed, and the metric that chose its weights."""
    rows: list[tuple[str, ...]] = []
    for arm in arms:
        for finding in arm.findings:
            run = finding.run
            rows.append(
                (
                    arm.name,
                    run.seed_text,
                    finding.monitor,
                    _number(finding.validated),
                    _number(finding.tested),
                )
            )
    missing = any(finding.tested is None for arm in arms for finding in arm.findings)
    note = "The best validation value chose the weights, so it is too good to be expected again."
    if missing:
        note += (
            " A dash stands where the present weights were not tested: `anyteacher test RUN` "
            "leaves the number."
        )
    if comparison is not None and comparison.mode == "min":
        note = f"Smaller is better. {note}"
    return Table(("arm", "seed", "metric", "best validation", "test"), rows, "Every run", note)


def paired_table(arms: Sequence[Arm], comparison: Comparison) -> Table:
    """Each arm's difference from the first."""
    rows = []
    for arm in arms[1:]:
        paired, one = comparison.pairs.get(arm.name), comparison.single.get(arm.name)
        if paired is None:
            seeds = str(comparison.unpaired[arm.name])
            shown, won = "–", "–"
            if one is not None:
                win = one < 0 if comparison.mode == "min" else one > 0
                shown, won = f"{signed(f'{one:.4g}')} [–]", f"{int(win)} of 1"
            rows.append((arm.name, shown, seeds, won))
            continue
        interval = Interval(arm.name, paired.mean, paired.low, paired.high)
        won = f"{round(paired.won * paired.seeds)} of {paired.seeds}"
        rows.append((arm.name, str(interval), str(paired.seeds), won))
    better = "Smaller" if comparison.mode == "min" else "Larger"
    more = ""
    if comparison.single:
        more += (
            " Of one the difference stands alone: it does not tell how much differences vary from "
            "seed to seed."
        )
    if len(comparison.pairs) > 1:
        more += " Each interval is for its own arm: of twenty, one misses."
    return Table(
        ("arm", f"difference in {comparison.source} {comparison.metric} [95 %]", "seeds", "won"),
        rows,
        f"Paired differences from {arms[0].name}",
        f"Mean of the differences seed by seed with Student's 95 % interval; won counts the seeds. "
        f"{better} {comparison.metric} is better. An interval needs two shared seeds with a number "
        f"each.{more}",
    )


def finding_text(arms: Sequence[Arm], comparison: Comparison) -> str:
    """What the intervals show, arm by arm; the same words whoever wins."""
    said = [
        f"{name} {_VERDICTS[paired.verdict]} {arms[0].name} by {paired.seeds} seeds"
        for name, paired in comparison.pairs.items()
    ]
    return f"By the 95 % intervals: {'; '.join(said)}." if said else ""


def failed_text(comparison: Comparison) -> str:
    """Which runs keep arms from being compared, as they have no finite value."""
    said = [
        f"the run in `{run.folder.as_posix()}` has {value} for it"
        for run, value in comparison.failed
    ]
    if not said:
        return ""
    return (
        f"Where a run has no finite {comparison.source} {comparison.metric} there is no mean, and "
        f"its arm has no interval: {'; '.join(said)}. It is reported, and no other seed stands in."
    )


def results(
    arms: Sequence[Arm],
    comparison: Comparison | None,
    differing: Sequence[tuple[str, list[str]]],
    detail: Detail,
) -> Section:
    """The section of the results; see `make_page` for what it takes."""
    blocks: list[Block | None] = [results_table(arms, comparison)]
    text = ""
    if len(arms) > 1 and comparison is None:
        text = NOT_COMPARED
    elif len(arms) > 1 and comparison is not None:
        said = (finding_text(arms, comparison), failed_text(comparison))
        text = "\n\n".join(filter(None, said))
        if comparison.source != "test":
            text += (
                "\n\nNot every run was tested, so the values compared are the best ones on the "
                "validation data, which also chose the weights."
            )
        blocks.append(paired_table(arms, comparison))
        blocks.append(_intervals(arms, comparison))
    if differing:
        rows = [(f"`{name}`", *values) for name, values in differing]
        columns = ("setting", *(arm.name for arm in arms))
        blocks.append(Table(columns, rows, "The settings in which the arms differ"))
    metrics = {arm.name: f"val/{arm.first.monitor}" for arm in arms}
    if len(set(metrics.values())) == 1:
        label = f"validation {arms[0].first.monitor}"
        title = "On the validation data during training"
        blocks.append(curves.between_arms(arms, metrics, title, label, points=detail.points))
    return Section("Results", text, [block for block in blocks if block is not None])


def _intervals(arms: Sequence[Arm], comparison: Comparison) -> Block | None:
    rows = [Interval(n, p.mean, p.low, p.high) for n, p in comparison.pairs.items()]
    return curves.drawn_or_none(
        IntervalChart,
        f"Against {arms[0].name}",
        f"difference in {comparison.source} {comparison.metric}",
        rows,
        comparison.mode,
        "Mean of the paired differences and its 95 % interval.",
    )


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if math.isfinite(value) else f"– ({value})"
