"""The tables of a grid: its claims, their comparisons, what was chosen, and what it ran on."""

from collections.abc import Sequence

from anyteacher.bench.claims import Claim
from anyteacher.bench.evidence import Outcome, Row
from anyteacher.bench.plan import Plan
from anyteacher.report import Table
from anyteacher.report.blocks import Cell
from anyteacher.report.markup import number
from anyteacher.statistics import Paired

_LEAST, _MOST = "↓", "↑"
_OVER = ">\N{NO-BREAK SPACE}"
_BESIDE = ("brings, %", "baseline brings, %")
_OF_GAINS = (
    "What either arm brings is its difference from the student alone, in per cent of that; each of "
    "these intervals is at 95 % for itself, and decides nothing."
)


def summary(found: Sequence[Outcome]) -> Table:
    """One line a claim."""
    rows: list[list[Cell]] = [
        [
            outcome.claim.name,
            outcome.verdict,
            f"{outcome.count('supported')} / {outcome.count('not supported')} / "
            f"{outcome.count('undecided')}",
            "all" if outcome.claim.needs == 1 else f"{_OVER}{outcome.claim.needs:.0%}",
            in_words(outcome.mean),
            outcome.claim.statement,
        ]
        for outcome in found
    ]
    counts = "comparisons: yes / no / undecided"
    columns = ["claim", "verdict", counts, "needed", "mean difference, %", "statement"]
    note = (
        "The mean is over all comparisons of a claim, with its own 95 % interval over the "
        "seeds. It says what holds on the whole, and decides no verdict."
    )
    return Table(columns, rows, "Verdicts", note)


def in_words(mean: Paired | None) -> str:
    """A mean difference with its interval."""
    if mean is None:
        return "·"
    return with_interval(mean.mean, mean.low, mean.high)


def with_interval(mean: float, low: float, high: float) -> str:
    """A difference in per cent and its interval."""
    middle, *ends = (number(value, 2) for value in (mean, low, high))
    return f"{middle} [{', '.join(ends)}]"


def comparisons_table(outcome: Outcome) -> Table:
    """One line a comparison of a claim.

    Where neither arm is the student alone, both are set against it, too.
    """
    claim = outcome.claim
    beside = any(row.gains for row in outcome.rows)
    rows: list[list[Cell]] = []
    for row in outcome.rows:
        pairs = 0 if row.decision is None else row.decision.paired.seeds
        interval, found = "·", "·"
        if row.enough:
            interval = with_interval(*row.relative())
            found = number(row.smallest * row.percent, 1)
        gains = map(in_words, row.gains)
        rows.append([label(row, claim), interval, pairs, found, row.verdict, *gains])
    columns = ["comparison", "difference, %", "pairs", "findable, %"]
    columns += [claim.expects, *(_BESIDE if beside else ())]
    note = _baseline(claim) + (f" {_OF_GAINS}" if beside else "") + _lacking(outcome.rows)
    return Table(columns, rows, claim.name, note)


def label(row: Row, claim: Claim) -> str:
    """What tells a comparison from the others of its claim."""
    arm = row.comparison.ours
    parts = [arm.task, str(arm.images)]
    if arm.teacher != "none":
        parts[0] = f"{arm.task} from {arm.teacher}"
    if len(claim.methods) > 1:
        parts.insert(1, arm.method)
    return ", ".join(parts)


def _baseline(claim: Claim) -> str:
    quantity = {
        "metric": "the task's deciding metric on the test data",
        "seconds": "the seconds of a training step",
        "memory": "the most memory that was held",
        "rank": "the projector's effective rank, as a share of the most it could be",
    }[claim.quantity]
    way = "" if claim.direction == "none" else f" in the {claim.direction} direction"
    against = {
        "alone": "the student alone",
        "traditional": "the traditional direction",
        "unchanged": "the method as it is",
        "same task": "the teacher of the same task",
        "half": "one half",
    }[claim.baseline]
    alike = ""
    if claim.quantity != "metric" and claim.baseline in ("traditional", "same task"):
        alike = "Only runs with the same settings are compared, those of the choice, too. "
    arm = claim.methods[0] if len(claim.methods) == 1 else "each method"
    if claim.variant:
        arm = f"{arm} ({claim.variant})"
    return (
        f"Compared is {arm}{way} with {against}: {quantity}, in per cent of the latter; more is "
        f"better. {alike}The smallest difference that matters is {claim.margin:.0%}. Intervals are "
        "of five pairs or more, at Holm's levels. Findable is the true difference that would be "
        "found with a probability of 80 %."
    )


def _lacking(rows: Sequence[Row]) -> str:
    lacking, diverged = sum(row.lacking for row in rows), sum(row.diverged for row in rows)
    unmeasured = sum(row.unmeasured for row in rows)
    few = sum(not (row.enough or row.lacking or row.diverged or row.unmeasured) for row in rows)
    counts = {
        "Pairs of runs that are not made yet": lacking,
        "Pairs of which a run diverged": diverged,
        "Pairs of runs that have no such figure": unmeasured,
        "Comparisons with too few runs of the same settings": few,
    }
    return "".join(f" {what}: {count}." for what, count in counts.items() if count)


def tried(plan: Plan) -> str:
    """All that was chosen among, in words."""
    grid = plan.grid
    images = [form for form in grid.image_forms if form not in grid.forms]
    parts: dict[str, Sequence[object]] = {
        "rates": grid.lrs,
        "weight decays": grid.decays,
        "weights": grid.weights,
        "taps": grid.taps,
        "forms": grid.forms,
        "further forms, of tasks with one answer an image,": images,
    }
    words = "; ".join(
        f"{name} {', '.join(f'{v:g}' if isinstance(v, float) else str(v) for v in values)}"
        for name, values in parts.items()
        if values
    )
    if grid.further:
        words += f"; and up to {grid.further} further weights where the best was the smallest "
        words += "or the largest"
    return words


def _end(value: float, values: Sequence[float]) -> str:
    """A mark where a number is the least or the most of several; empty where it is between."""
    ends = {min(values): f" {_LEAST}", max(values): f" {_MOST}"}
    return ends.get(value, "") if len(ends) > 1 else ""


def choices(plan: Plan) -> Table:
    """One line an arm: what was chosen for it, and whether that was an end of what was tried."""
    rows: list[list[Cell]] = []
    ended = 0
    for arm in plan.arms:
        choice = plan.chosen(arm)
        if choice is None:
            continue
        rate = decay = weight = ""
        taps = ["·", "·", "·"]
        if arm.alone:
            rate = _end(choice.lr, plan.grid.lrs)
            decay = _end(choice.weight_decay, plan.grid.decays)
        else:
            weight = _end(choice.weight, [cell.choice.weight for cell in plan.weighing(arm)])
            taps = [f"{choice.weight:g}{weight}", choice.tap, choice.form]
        rates = [f"{choice.lr:g}{rate}", f"{choice.weight_decay:g}{decay}"]
        ended += bool(rate or decay or weight)
        rows.append([arm.task, str(arm.images), arm.name, *rates, *taps])
    columns = ["task", "images", "arm", "lr", "decay", "× own weight", "tap", "form"]
    note = (
        f"{_LEAST} is the least and {_MOST} the most of what was tried, so that what is better "
        f"still may lie beyond: {ended} of {len(rows)} arms. The rate and the decay of the student "
        "alone are those of the other arms of its task."
    )
    return Table(columns, rows, "Settings by validation", note)


def machines(plan: Plan) -> Table:
    """How many runs each machine and state of the source has made."""
    counts: dict[tuple[str, ...], int] = {}
    for record in plan.made().values():
        named = ("device", "processor", "PyTorch", "anyteacher")
        key = (*(record.machine.get(name, "") for name in named), record.commit)
        counts[key] = counts.get(key, 0) + 1
    rows: list[list[Cell]] = [[*key, count] for key, count in sorted(counts.items())]
    return Table(["device", "processor", "PyTorch", "anyteacher", "commit", "runs"], rows)
