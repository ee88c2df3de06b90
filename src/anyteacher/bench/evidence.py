"""What the records of a grid say of its claims."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeAlias

from anyteacher.bench.claims import Claim
from anyteacher.bench.grid import Comparison
from anyteacher.bench.pairs import Pairs, against_alone, pairs_of
from anyteacher.bench.plan import Plan
from anyteacher.bench.verdict import FEWEST_SEEDS, Decision, Verdict, decide, detectable, together
from anyteacher.statistics import Paired, compare


@dataclass(frozen=True)
class Row:
    """One comparison of a claim.

    Attributes:
        comparison: Which arms.
        baseline: Mean of the baseline, in the units of the quantity.
        decision: What the pairs say; None where there are not two of them.
        lacking: Seeds that are planned and missing.
        diverged: Seeds with which one of both has diverged.
        unmeasured: Seeds whose runs are done and do not have the quantity, such as the memory of a
            GPU on a machine without one.
        smallest: The true difference that would be found with a probability of 80 %, at the
            strictest level of the family and with the deviation that was seen; in the units of the
            quantity.
        gains: What the student alone gains by the arm, and by its baseline, in per cent and each
            with the 95 % interval of one comparison, over all seeds of the grid: whether what is
            better helps, or does less harm. None for one that cannot be said; empty where the claim
            is of no metric, or compares with the student alone itself.
    """

    comparison: Comparison
    baseline: float
    decision: Decision | None
    lacking: int
    diverged: int
    unmeasured: int
    smallest: float
    gains: tuple[Paired | None, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Of the comparison; undecided while seeds are missing or have diverged."""
        if self.decision is None or self.lacking or self.diverged:
            return "undecided"
        return self.decision.verdict

    def relative(self) -> tuple[float, float, float]:
        """Mean and interval of the difference in per cent of the baseline; more is better."""
        found = self.decision
        if found is None:
            return math.nan, math.nan, math.nan
        return found.paired.mean * self.percent, found.low * self.percent, found.high * self.percent

    @property
    def enough(self) -> bool:
        """Whether there are as many pairs as anything is decided by."""
        return self.decision is not None and self.decision.paired.seeds >= FEWEST_SEEDS

    @property
    def percent(self) -> float:
        """What a difference is multiplied by to be in per cent of the baseline."""
        return 100 / abs(self.baseline) if self.baseline else math.nan


@dataclass(frozen=True)
class Outcome:
    """A claim, its comparisons, and what they say of it together.

    Attributes:
        claim: Which.
        rows: Its comparisons.
        mean: The mean of their differences in per cent of each baseline, more is better, with its
            interval over the seeds that all of them have: what holds on the whole, which decides
            nothing. None where there are fewer than five, or a run has diverged.
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


def outcome(plan: Plan, claim: Claim) -> Outcome:
    """What a plan's records say of one claim by itself, which need not be one of its grid's."""
    (found,) = _family(plan, [(claim, plan.grid.comparisons(claim))])
    return found


def outcomes(plan: Plan) -> list[Outcome]:
    """Every claim of a grid that compares anything in it."""
    stated = [(claim, plan.grid.comparisons(claim)) for claim in plan.grid.claims]
    families: dict[str, list[_Stated]] = {}
    for claim, comparisons in stated:
        if comparisons:
            families.setdefault(claim.family or claim.name, []).append((claim, comparisons))
    found = {one.claim.name: one for members in families.values() for one in _family(plan, members)}
    return [found[claim.name] for claim, _ in stated if claim.name in found]


def _family(plan: Plan, members: Sequence["_Stated"]) -> list[Outcome]:
    """Claims of a family: those of its comparisons that have two pairs or more are decided."""
    pairs = [[pairs_of(plan, claim, one) for one in comparisons] for claim, comparisons in members]
    size = sum(map(len, pairs))
    measured = [
        (pair, claim.margin * abs(fmean(pair.theirs)))
        for (claim, _), of_claim in zip(members, pairs, strict=True)
        for pair in of_claim
        if len(pair.seeds) > 1
    ]
    compared = [compare(pair.ours, pair.theirs, mode="max") for pair, _ in measured]
    margins = [margin for _, margin in measured]
    decisions = iter(decide(compared, margins, members[0][0].expects, size))
    found = []
    for (claim, comparisons), of_claim in zip(members, pairs, strict=True):
        rows = []
        for comparison, pair in zip(comparisons, of_claim, strict=True):
            baseline = fmean(pair.theirs) if pair.seeds else math.nan
            decision = next(decisions) if len(pair.seeds) > 1 else None
            smallest = math.nan if decision is None else detectable(decision.paired, size)
            counts = (pair.lacking, pair.diverged, pair.unmeasured)
            gains = _gains(plan, claim, comparison)
            rows.append(Row(comparison, baseline, decision, *counts, smallest, gains))
        found.append(Outcome(claim, rows, _mean(of_claim)))
    return found


def _gains(plan: Plan, claim: Claim, comparison: Comparison) -> tuple[Paired | None, ...]:
    arms = (comparison.ours, comparison.baseline)
    if claim.quantity != "metric" or any(arm is None or arm.alone for arm in arms):
        return ()
    return tuple(against_alone(plan, comparison.scale, arm) for arm in arms if arm)


_Stated: TypeAlias = tuple[Claim, Sequence[Comparison]]


def _mean(family: Sequence[Pairs]) -> Paired | None:
    common = set.intersection(*(set(pair.seeds) for pair in family))
    if len(common) < FEWEST_SEEDS or any(
        pair.diverged or not fmean(pair.theirs) for pair in family
    ):
        return None
    sides: tuple[list[float], list[float]] = ([], [])
    for seed in sorted(common):
        at = [(pair, pair.seeds.index(seed), 100 / abs(fmean(pair.theirs))) for pair in family]
        sides[0].append(fmean(unit * pair.ours[place] for pair, place, unit in at))
        sides[1].append(fmean(unit * pair.theirs[place] for pair, place, unit in at))
    return compare(*sides, mode="max")
