"""The values of two arms that are paired: of which runs, and what each gave."""

import math
from collections import Counter
from dataclasses import dataclass, field
from statistics import fmean
from typing import TypeAlias

from anyteacher.bench.cell import Arm
from anyteacher.bench.claims import Claim, Quantity
from anyteacher.bench.grid import Comparison, Scale
from anyteacher.bench.plan import Plan
from anyteacher.bench.problems import problem
from anyteacher.bench.ranks import rank_shares
from anyteacher.bench.record import Record
from anyteacher.statistics import Paired, compare

_HALF = 0.5


@dataclass
class Pairs:
    """Values of both arms by seed, turned so that more is better.

    Attributes:
        seeds: Those that both arms have.
        ours: A value a seed.
        theirs: Of the baseline.
        lacking: Seeds that are planned and missing.
        diverged: Seeds with which one of both has diverged.
        unmeasured: Seeds whose runs are done and do not have the quantity.
    """

    seeds: list[int] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    lacking: int = 0
    diverged: int = 0
    unmeasured: int = 0


def pairs_of(plan: Plan, claim: Claim, comparison: Comparison) -> Pairs:
    """What a comparison of a claim pairs, of the runs that are made."""
    ours, baseline = comparison.ours, comparison.baseline
    if claim.quantity == "metric" or baseline is None or baseline.alone:
        planned = min(plan.grid.seeds, claim.seeds)
        runs = _seed_by_seed(plan, ours, baseline, plan.grid.compared_seeds(planned))
    else:
        planned = plan.grid.selection_seeds
        runs = _alike(plan, ours, baseline, weight=claim.quantity == "rank")
    sign = 1.0
    if claim.quantity != "metric" or problem(ours.task).mode == "min":
        sign = -1.0
    pairs = Pairs(lacking=max(0, planned - len(runs)))
    for seed, found in runs.items():
        values = [
            (value_of(one, claim.quantity), value_of(other, claim.quantity) if other else _HALF)
            for one, other in found
        ]
        if any(record and record.status == "diverged" for pair in found for record in pair):
            pairs.diverged += 1
        elif not all(math.isfinite(value) for pair in values for value in pair):
            pairs.unmeasured += 1
        else:
            pairs.seeds.append(seed)
            pairs.ours.append(sign * fmean(mine for mine, _ in values))
            pairs.theirs.append(sign * fmean(other for _, other in values))
    return pairs


_Runs: TypeAlias = dict[int, list[tuple[Record, Record | None]]]


def _seed_by_seed(plan: Plan, ours: Arm, baseline: Arm | None, seeds: range) -> _Runs:
    """The runs of both arms that are compared, by seed; without a baseline ours alone."""
    mine = plan.compared(ours)
    if baseline is None:
        return {seed: [(mine[seed], None)] for seed in seeds if seed in mine}
    theirs = plan.compared(baseline)
    return {s: [(mine[s], theirs[s])] for s in seeds if s in mine and s in theirs}


def _alike(plan: Plan, ours: Arm, baseline: Arm, *, weight: bool) -> _Runs:
    """The runs of two arms with the same settings, by seed; those of the choice, too.

    The settings of an arm are chosen for its metric. Compared as they were chosen, one direction
    would seem cheaper, or one teacher's projector of lower rank, for no other reason than that its
    tap is deeper. What has diverged in the choice is left out.
    """
    mine, theirs = _by_settings(plan, ours, weight), _by_settings(plan, baseline, weight)
    runs: _Runs = {}
    for place in mine.keys() & theirs.keys():
        pair = (mine[place], theirs[place])
        if all(record.status == "done" for record in pair):
            runs.setdefault(place[0], []).append(pair)
    return dict(sorted(runs.items()))


_Place: TypeAlias = tuple[int, str, str, float]


def _by_settings(plan: Plan, arm: Arm, weight: bool) -> dict[_Place, Record]:
    """The runs of an arm by seed, tap, form, and either weight or place among those that agree."""
    found: dict[_Place, Record] = {}
    seen: Counter[tuple[int, str, str]] = Counter()
    for cell in (*plan.selection(arm), *plan.comparison(arm)):
        shared = (cell.seed, cell.choice.tap, cell.choice.form)
        if cell.key in plan.records:
            last = cell.choice.weight if weight else float(seen[shared])
            place = (*shared, last)
            found[place] = plan.records[cell.key]
        seen[shared] += 1
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
        # That of a process is nearly all the interpreter's own, so that only a GPU's says anything.
        return float(record.memory.get("device", math.nan))
    shares = [last for _, last in rank_shares(record)]
    return fmean(shares) if shares else math.nan


def against_alone(plan: Plan, scale: Scale, *arms: Arm) -> Paired | None:
    """Arms of a task against the student alone, as differences in per cent, more is better.

    Of several their mean, seed by seed; over the seeds that all of them have. None where there are
    not two, or a run has diverged: what is left would be a choice of the better seeds. The interval
    is that of one comparison, not of a family.
    """
    task = arms[0].task
    every = (plan.grid.arm(scale, task), *arms)
    if any(arm not in plan.arms for arm in every):
        return None
    records = [plan.compared(arm) for arm in every]
    if any(record.status != "done" for found in records for record in found.values()):
        return None
    alone, *ours = (
        {seed: value_of(record, "metric") for seed, record in found.items()} for found in records
    )
    seeds = [seed for seed in sorted(alone) if all(seed in values for values in ours)]
    if len(seeds) < 2:
        return None
    unit = 100 / abs(fmean(alone[seed] for seed in seeds))
    sign = unit if problem(task).mode == "max" else -unit
    means = [sign * fmean(values[seed] for values in ours) for seed in seeds]
    return compare(means, [sign * alone[seed] for seed in seeds], mode="max")
