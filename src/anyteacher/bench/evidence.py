"""What the records of a grid say of its claims."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from anyteacher.bench.cell import Arm
from anyteacher.bench.claims import Claim, Quantity
from anyteacher.bench.grid import Comparison, Scale
from anyteacher.bench.plan import Plan
from anyteacher.bench.problems import problem
from anyteacher.bench.record import Record
from anyteacher.bench.verdict import Decision, Verdict, decide, together
from anyteacher.statistics import Paired, compare

_HALF = 0.5
_COSTS: tuple[Quantity, ...] = ("seconds", "memory")


@dataclass(frozen=True)
class Row:
    """One comparison of a claim.

    Attributes:
        comparison: Which arms.
        baseline: Mean of the baseline, in the units of the quantity.
        decision: What the pairs say; None where there are not two of them.
        lacking: Pairs that are planned and missing.
        diverged: Pairs of which one run has diverged.
        verdict: Of the comparison; undecided while seeds are missing or have diverged.
    """

    comparison: Comparison
    baseline: float
    decision: Decision | None
    lacking: int
    diverged: int

    @property
    def verdict(self) -> Verdict:
        """Of the comparison."""
        if self.decision is None or self.lacking or self.diverged:
            return "undecided"
        return self.decision.verdict

    def relative(self) -> tuple[float, float, float]:
        """Mean and interval of the difference in per cent of the baseline; more is better."""
        found = self.decision
        if found is None:
            return math.nan, math.nan, math.nan
        scale = 100 / abs(self.baseline) if self.baseline else math.nan
        return found.paired.mean * scale, found.low * scale, found.high * scale


@dataclass(frozen=True)
class Outcome:
    """A claim, its comparisons, and what they say of it together.

    Attributes:
        claim: Which.
        rows: Its comparisons.
        mean: The mean of their differences in per cent of each baseline, more is better, with its
            interval over the pairs: what holds on the whole, which decides nothing. None where
            there are not two pairs of every comparison, or a run has diverged.
    """

    claim: Claim
    rows: Sequence[Row]
    mean: Paired | None

    @property
    def verdict(self) -> Verdict:
        """Of the claim."""
        return together([row.verdict for row in self.rows], self.claim.needs)

    def count(self, verdict: Verdict) -> int:
        """How many comparisons have a verdict."""
        return sum(row.verdict == verdict for row in self.rows)


def outcomes(plan: Plan) -> list[Outcome]:
    """Every claim of a grid that compares anything in it."""
    found = ((claim, plan.grid.comparisons(claim)) for claim in plan.grid.claims)
    return [outcome(plan, claim, comparisons) for claim, comparisons in found if comparisons]


def outcome(plan: Plan, claim: Claim, comparisons: Sequence[Comparison]) -> Outcome:
    """One claim: its comparisons with two pairs or more are the family."""
    pairs = [_pairs(plan, claim, comparison) for comparison in comparisons]
    measured = [pair for pair in pairs if len(pair.ours) > 1]
    family = [compare(pair.ours, pair.theirs, mode="max") for pair in measured]
    margins = [claim.margin * abs(fmean(pair.theirs)) for pair in measured]
    decisions = iter(decide(family, margins, claim.expects))
    rows = []
    for comparison, pair in zip(comparisons, pairs, strict=True):
        enough = len(pair.ours) > 1
        baseline = fmean(pair.theirs) if pair.theirs else math.nan
        decision = next(decisions) if enough else None
        rows.append(Row(comparison, baseline, decision, pair.lacking, pair.diverged))
    return Outcome(claim, rows, _mean(pairs))


@dataclass(frozen=True)
class _Pairs:
    """Values of both arms, pair by pair, turned so that more is better."""

    ours: list[float]
    theirs: list[float]
    diverged: int
    lacking: int


def _mean(family: Sequence[_Pairs]) -> Paired | None:
    count = min((len(pair.ours) for pair in family), default=0)
    if count < 2 or any(pair.diverged for pair in family):
        return None
    units = [100 / abs(fmean(pair.theirs)) for pair in family]
    ours, theirs = (
        [fmean(u * v[place] for u, v in zip(units, values, strict=True)) for place in range(count)]
        for values in ([pair.ours for pair in family], [pair.theirs for pair in family])
    )
    return compare(ours, theirs, mode="max")


def _pairs(plan: Plan, claim: Claim, comparison: Comparison) -> _Pairs:
    ours, baseline = comparison.ours, comparison.baseline
    pairs: list[tuple[Record, Record | None]]
    if claim.quantity in _COSTS and baseline is not None and not baseline.alone:
        mine, theirs = _of_one_cost(plan, ours), _of_one_cost(plan, baseline)
        pairs = [(record, theirs[place]) for place, record in mine.items() if place in theirs]
        planned = len(plan.grid.weights) * plan.grid.selection_seeds
    else:
        planned = min(plan.grid.seeds, claim.seeds)
        pairs = _seed_by_seed(plan, ours, baseline, plan.grid.compared_seeds(planned))
    sign = 1.0
    if claim.quantity != "metric" or problem(ours.task).mode == "min":
        sign = -1.0
    values, others, diverged = [], [], 0
    for record, other in pairs:
        value = value_of(record, claim.quantity)
        against = _HALF if other is None else value_of(other, claim.quantity)
        if not (math.isfinite(value) and math.isfinite(against)):
            diverged += 1
            continue
        values.append(sign * value)
        others.append(sign * against)
    return _Pairs(values, others, diverged, max(0, planned - len(pairs)))


def _seed_by_seed(
    plan: Plan, ours: Arm, baseline: Arm | None, seeds: range
) -> list[tuple[Record, Record | None]]:
    """The runs of both arms that are compared; without a baseline ours alone."""
    mine = plan.compared(ours)
    if baseline is None:
        return [(mine[seed], None) for seed in seeds if seed in mine]
    theirs = plan.compared(baseline)
    return [(mine[s], theirs[s]) for s in seeds if s in mine and s in theirs]


def _of_one_cost(plan: Plan, arm: Arm) -> dict[tuple[str | int, ...], Record]:
    """The runs of an arm by what their cost depends on, and their place among those that agree.

    The settings of an arm are chosen for its metric. Compared as they were chosen, one direction
    would seem cheaper for no other reason than that its tap is deeper.
    """
    found: dict[tuple[str | int, ...], Record] = {}
    seen: Counter[tuple[str | int, ...]] = Counter()
    for cell in (*plan.selection(arm), *plan.comparison(arm)):
        place = (cell.seed, cell.choice.tap, cell.choice.form)
        key = (*place, seen[place])
        if cell.key in plan.records:
            found[key] = plan.records[cell.key]
        seen[place] += 1
    return found


def value_of(record: Record, quantity: Quantity) -> float:
    """What a run gave; not a number where it diverged, or has none.

    Seconds of a training step; bytes; a rank as a share of the most that it could be.
    """
    if record.status != "done":
        return math.nan
    if quantity == "metric":
        return record.test.get(record.monitor, math.nan)
    if quantity == "seconds":
        return record.seconds["steps"] / float(record.cell["steps"])
    if quantity == "memory":
        return float(record.memory.get("device", record.memory.get("host", math.nan)))
    shares = [
        curve[-1][1] / record.curves[f"{name.rpartition('/')[0]}/directions"][-1][1]
        for name, curve in record.curves.items()
        if name.endswith("/projector_rank")
    ]
    return fmean(shares) if shares else math.nan


def against_alone(plan: Plan, scale: Scale, arm: Arm) -> Paired | None:
    """An arm against the student alone, as differences in per cent, more is better.

    None where there are not two pairs. The interval is that of one comparison, not of a family.
    """
    ours, alone = plan.compared(arm), plan.compared(plan.grid.arm(scale, arm.task))
    pairs = [
        (value_of(ours[seed], "metric"), value_of(alone[seed], "metric"))
        for seed in sorted(ours.keys() & alone.keys())
    ]
    pairs = [pair for pair in pairs if all(map(math.isfinite, pair))]
    if len(pairs) < 2:
        return None
    unit = 100 / abs(fmean(theirs for _, theirs in pairs))
    sign = unit if problem(arm.task).mode == "max" else -unit
    return compare(
        [sign * mine for mine, _ in pairs], [sign * theirs for _, theirs in pairs], mode="max"
    )
