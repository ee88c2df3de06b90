import math
from dataclasses import replace
from statistics import fmean

import pytest
from cells import GRID, measured, pretended, ran

from anyteacher.bench.claims import CLAIMS
from anyteacher.bench.evidence import outcome, outcomes
from anyteacher.bench.pairs import against_alone
from anyteacher.bench.plan import Plan
from anyteacher.bench.verdict import decide

SCALE = GRID.scales[0]
TAUGHT = GRID.arm(SCALE, "depth", "segmentation", "inverted", "inverted")
WAYS = ("inverted", "traditional")


def found(records, name, grid=GRID):
    (one,) = (o for o in outcomes(Plan(grid, records)) if o.claim.name == name)
    return one


@pytest.mark.parametrize(
    ("inverted", "verdict"),
    [(0.4, "supported"), (0.6, "not supported"), (0.5, "not supported")],
)
def test_a_smaller_error_is_better(inverted, verdict):
    records = ran(GRID, measured(inverted=inverted, traditional=0.5))
    c1 = found(records, "C1")
    depth = next(row for row in c1.rows if row.comparison.ours.task == "depth")
    assert depth.verdict == verdict
    assert depth.decision.paired.mean == pytest.approx(0.5 - inverted, abs=0.002)
    assert depth.relative()[0] == pytest.approx((0.5 - inverted) / 0.5 * 100, abs=0.5)
    other = next(row for row in c1.rows if row.comparison.ours.task == "segmentation")
    assert other.verdict == "not supported"
    assert c1.count("not supported") == 1 + (verdict == "not supported")
    assert c1.verdict == "not supported"  # one of two is not most of them


def test_the_mean_over_the_comparisons():
    """Depth gains a fifth and segmentation nothing: a tenth, and the noise of both at each seed."""
    records = ran(GRID, measured(inverted=0.4, traditional=0.5))
    c1 = found(records, "C1")
    by_row = [row.relative()[0] for row in c1.rows]
    assert c1.mean.mean == pytest.approx(fmean(by_row))
    assert c1.mean.mean == pytest.approx(10, abs=0.5)
    assert c1.mean.seeds == GRID.seeds
    key = Plan(GRID, records).comparison(TAUGHT)[0].key
    missing = {k: record for k, record in records.items() if k != key}
    assert found(missing, "C1").mean is None  # four seeds are too few
    records[key] = replace(records[key], status="diverged")
    assert found(records, "C1").mean is None
    assert found({}, "C1").mean is None


def test_the_mean_is_over_the_seeds_that_all_comparisons_have():
    """The first seed is missing for one of both: places in a list would not be seeds."""
    grid = replace(GRID, seeds=6)
    records = ran(grid, measured(inverted=0.4, traditional=0.5))
    whole = found(records, "C1", grid).mean
    plan = Plan(grid, records)
    gone = {plan.comparison(TAUGHT)[0].key}
    fewer = found({k: r for k, r in records.items() if k not in gone}, "C1", grid).mean
    every = {cell.key for arm in plan.arms for cell in plan.comparison(arm) if cell.seed == 0}
    none = found({k: r for k, r in records.items() if k not in every}, "C1", grid).mean
    assert (whole.seeds, fewer.seeds, none.seeds) == (6, 5, 5)
    assert fewer.mean == pytest.approx(none.mean, rel=1e-3)


def test_a_larger_score_is_better():
    records = ran(GRID, measured("segmentation", inverted=0.6, traditional=0.5))
    row = found(records, "C1").rows[0]
    assert (row.comparison.ours.task, row.verdict) == ("segmentation", "supported")
    assert row.relative()[0] == pytest.approx(20, abs=0.5)


def test_the_intervals_are_those_of_the_family():
    records = ran(GRID, measured(inverted=0.49, traditional=0.5))
    c1 = found(records, "C1")
    pairs = [row.decision.paired for row in c1.rows]
    margins = [0.01 * abs(row.baseline) for row in c1.rows]
    expected = decide(pairs, margins, "better")
    assert [row.decision for row in c1.rows] == expected


def test_claims_of_one_family_are_decided_together():
    names = [claim for claim in CLAIMS if claim.name in ("C2 fitnet", "C2 pkt")]
    grid = replace(GRID, methods=(), claims=tuple(names))
    records = ran(grid, measured(inverted=0.49, traditional=0.5))
    both = outcomes(Plan(grid, records))
    rows = [row for one in both for row in one.rows]
    pairs = [row.decision.paired for row in rows]
    margins = [0.01 * abs(row.baseline) for row in rows]
    assert [row.decision for row in rows] == decide(pairs, margins, "better")
    (alone,) = outcomes(Plan(replace(grid, claims=tuple(names[:1])), records))
    assert alone.rows[0].decision.high < both[0].rows[0].decision.high
    assert [one.claim for one in both] == names


def test_a_part_of_a_family_is_decided_as_one_of_all():
    records = ran(GRID, measured(inverted=0.49, traditional=0.5))
    whole = found(records, "C1")
    plan = Plan(GRID, records)
    other = replace(TAUGHT, task="segmentation", teacher="depth")
    gone = {cell.key for cell in plan.comparison(other)}
    part = found({k: r for k, r in records.items() if k not in gone}, "C1")
    decided = [row for row in part.rows if row.decision]
    assert len(decided) == len(whole.rows) - 1
    alone = decide([row.decision.paired for row in decided], [0.005] * len(decided), "better")
    assert decided[0].decision.high > alone[0].high


def test_less_time_and_a_lower_rank_are_better():
    def measure(cell):
        seconds = {"fit": 2.0, "steps": 1.0 + 0.2 * (cell.arm.direction == "traditional")}
        record = measured()(cell)
        return replace(record, seconds=seconds)

    records = ran(GRID, measure)
    assert found(records, "C5 time").verdict == "supported"
    assert found(records, "C5 time").rows[0].relative()[0] == pytest.approx(100 / 6)
    c6 = found(records, "C6")
    assert c6.verdict == "supported"
    assert c6.rows[0].relative()[0] == pytest.approx(50)  # a quarter, against one half
    assert found(records, "C6 distance").verdict == "not supported"


def test_costs_are_compared_between_runs_of_the_same_tap():
    """The deep tap costs half, and is better for the one direction alone."""

    def measure(cell):
        deep = cell.choice.tap == "deep"
        good = deep == (cell.arm.direction == "inverted")
        value = {pretended(cell).monitor: 0.5 + 0.1 * good * (-1) ** (cell.arm.task == "depth")}
        return pretended(cell, val=value, seconds={"steps": 2.0 - deep})

    grid = replace(GRID, taps=("middle", "deep"), forms=("own",))
    records = ran(grid, measure)
    taps = {d: Plan(grid, records).chosen(replace(TAUGHT, direction=d)).tap for d in WAYS}
    assert taps == {"inverted": "deep", "traditional": "middle"}
    row = found(records, "C5 time", grid).rows[0]
    # The arms were chosen with other taps, so that only the two seeds of the choice are left.
    assert row.decision.paired.seeds == 2
    assert row.decision.paired.mean == 0
    alike = replace(grid, taps=("deep",))
    row = found(ran(alike, measure), "C5 time", alike).rows[0]
    assert row.decision.paired.seeds == 2 + GRID.seeds
    assert row.verdict == "supported"


def test_ranks_are_compared_between_runs_of_the_same_weight():
    """The rank falls with the weight, and the best weight is another for each teacher."""

    def measure(cell):
        same = cell.arm.teacher == cell.arm.task
        good = (cell.choice.weight == 1.0) == same
        value = 0.5 + 0.1 * good * (-1) ** (cell.arm.task == "depth")
        ranks = [(3, 4.0 / (1 + cell.choice.weight))]
        curves = {"spectra/a/projector_rank": ranks, "spectra/a/directions": [(3, 8.0)]}
        return pretended(cell, val={pretended(cell).monitor: value}, curves=curves)

    grid = replace(GRID, forms=("own",))
    records = ran(grid, measure)
    arms = (TAUGHT, replace(TAUGHT, teacher="depth"))
    assert [Plan(grid, records).chosen(arm).weight for arm in arms] == [0.1, 1.0]
    row = next(r for r in found(records, "C6 distance", grid).rows if r.comparison.ours == TAUGHT)
    assert (row.decision.paired.seeds, row.decision.paired.mean) == (2, 0)


def test_a_try_that_diverged_takes_no_cost_away():
    def measure(cell):
        bad = cell.stage == "selection" and cell.choice.weight == 1.0
        return pretended(cell, "diverged" if bad and cell.arm.direction == "inverted" else "done")

    (row, *_) = found(ran(GRID, measure), "C5 time").rows
    assert (row.diverged, row.unmeasured, row.lacking) == (0, 0, 0)
    assert row.decision.paired.seeds == 2 + GRID.seeds


def test_seeds_of_a_cost_that_are_missing_are_counted():
    (row, *_) = found({}, "C5 time").rows
    assert (row.lacking, row.verdict) == (2, "undecided")
    (row, *_) = found(ran(GRID), "C5 memory").rows
    assert (row.unmeasured, row.diverged, row.verdict) == (2 + GRID.seeds, 0, "undecided")


def test_more_time_is_worse():
    def measure(cell):
        return pretended(cell, seconds={"steps": 1.0 + (cell.arm.direction == "inverted")})

    assert found(ran(GRID, measure), "C5 time").verdict == "not supported"


def test_missing_and_diverged_seeds_decide_nothing():
    records = ran(GRID, measured(inverted=0.4, traditional=0.5))
    key = Plan(GRID, records).comparison(TAUGHT)[0].key
    depth = 1
    missing = {k: record for k, record in records.items() if k != key}
    row = found(missing, "C1").rows[depth]
    assert (row.lacking, row.diverged, row.verdict) == (1, 0, "undecided")
    assert row.decision.paired.seeds == 4
    records[key] = replace(records[key], status="diverged")
    row = found(records, "C1").rows[depth]
    assert (row.lacking, row.diverged, row.verdict) == (0, 1, "undecided")


def test_nothing_was_run_yet():
    c1 = found({}, "C1")
    assert c1.verdict == "undecided"
    assert [(row.decision, row.lacking) for row in c1.rows] == [(None, 5), (None, 5)]
    assert all(map(math.isnan, c1.rows[0].relative()))


def test_every_claim_with_a_comparison_in_the_grid_is_there():
    names = [outcome.claim.name for outcome in outcomes(Plan(GRID, {}))]
    expected = [claim.name for claim in CLAIMS if GRID.comparisons(claim)]
    assert names == expected
    few = replace(GRID, tasks=("depth", "segmentation"))
    assert "C3 elsewhere" not in [found.claim.name for found in outcomes(Plan(few, {}))]


def test_both_arms_are_set_against_the_student_alone():
    records = ran(GRID, measured(inverted=0.45, traditional=0.4))
    plan = Plan(GRID, records)
    row = next(r for r in found(records, "C1").rows if r.comparison.ours == TAUGHT)
    other = replace(TAUGHT, direction="traditional")
    assert row.gains == tuple(against_alone(plan, SCALE, arm) for arm in (TAUGHT, other))
    assert [gain.mean for gain in row.gains] == pytest.approx([10, 20], abs=0.5)
    # That difference says nothing new of these.
    for claim in ("C3", "C5 time", "C6"):
        assert found(records, claim).rows[0].gains == ()


def test_what_is_better_than_a_diverged_baseline_has_no_gain_of_it():
    records = ran(GRID, measured(inverted=0.45))
    other = replace(TAUGHT, direction="traditional")
    key = Plan(GRID, records).comparison(other)[0].key
    records[key] = replace(records[key], status="diverged")
    row = next(r for r in found(records, "C1").rows if r.comparison.ours == TAUGHT)
    assert row.gains[0] is not None
    assert row.gains[1] is None


def test_a_claim_by_itself_is_no_part_of_a_family():
    names = [claim for claim in CLAIMS if claim.name in ("C2 fitnet", "C2 pkt")]
    grid = replace(GRID, methods=(), claims=tuple(names))
    plan = Plan(grid, ran(grid, measured(inverted=0.49, traditional=0.5)))
    alone, together = outcome(plan, names[0]), outcomes(plan)[0]
    assert alone.mean == together.mean
    assert alone.rows[0].decision.high < together.rows[0].decision.high
