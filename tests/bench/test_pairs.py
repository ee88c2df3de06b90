import math
from dataclasses import replace
from statistics import fmean

import pytest
from cells import GRID, RANKS, measured, pretended, ran

from anyteacher.bench.claims import CLAIMS
from anyteacher.bench.pairs import against_alone, pairs_of, value_of
from anyteacher.bench.plan import Plan
from anyteacher.statistics import compare

SCALE = GRID.scales[0]
TAUGHT = GRID.arm(SCALE, "depth", "segmentation", "inverted", "inverted")


def test_values_are_turned_so_that_more_is_better():
    plan = Plan(GRID, ran(GRID, measured(inverted=0.4, traditional=0.5)))
    c1 = next(claim for claim in CLAIMS if claim.name == "C1")
    comparison = next(one for one in GRID.comparisons(c1) if one.ours == TAUGHT)
    pairs = pairs_of(plan, c1, comparison)
    assert pairs.seeds == list(range(GRID.seeds))
    assert pairs.ours == [-r.test["abs_rel"] for r in plan.compared(TAUGHT).values()]
    assert (pairs.lacking, pairs.diverged, pairs.unmeasured) == (0, 0, 0)
    empty = pairs_of(Plan(GRID, {}), c1, comparison)
    assert (empty.seeds, empty.lacking) == ([], GRID.seeds)


def test_a_diverged_run_is_not_left_out_of_a_mean_against_the_student_alone():
    records = ran(GRID, measured(inverted=0.4))
    plan = Plan(GRID, records)
    assert against_alone(plan, SCALE, TAUGHT) is not None
    key = plan.comparison(TAUGHT)[2].key
    records[key] = replace(records[key], status="diverged")
    assert against_alone(Plan(GRID, records), SCALE, TAUGHT) is None


def test_other_quantities(cell):
    record = pretended(cell(), curves=RANKS)
    assert value_of(record, "metric") == 0.5
    assert value_of(record, "seconds") == 1.0 / 4
    assert value_of(replace(record, memory={"host": 1, "device": 2}), "memory") == 2
    assert math.isnan(value_of(record, "memory"))  # of the process, which is the interpreter's
    assert value_of(record, "rank") == 0.25
    assert math.isnan(value_of(replace(record, curves={}), "rank"))
    assert math.isnan(value_of(replace(record, status="diverged"), "metric"))


def test_an_arm_against_the_student_alone():
    records = ran(GRID, measured(inverted=0.4))
    plan = Plan(GRID, records)
    paired = against_alone(plan, SCALE, TAUGHT)
    ours = [record.test["abs_rel"] for record in plan.compared(TAUGHT).values()]
    alone = [r.test["abs_rel"] for r in plan.compared(GRID.arm(SCALE, "depth")).values()]
    expected = compare(ours, alone, mode="min")
    assert paired.mean == pytest.approx(-100 * expected.mean / fmean(alone))
    assert paired.low == pytest.approx(-100 * expected.high / fmean(alone))
    assert against_alone(Plan(GRID, {}), SCALE, TAUGHT) is None
    # Of two arms their mean at each seed, over the seeds that both have.
    other = replace(TAUGHT, direction="traditional")
    two = against_alone(plan, SCALE, TAUGHT, other)
    one = against_alone(plan, SCALE, other)
    assert two.mean == pytest.approx((paired.mean + one.mean) / 2)
    key = plan.comparison(other)[0].key
    fewer = Plan(GRID, {k: record for k, record in records.items() if k != key})
    assert against_alone(fewer, SCALE, TAUGHT, other).seeds == GRID.seeds - 1
