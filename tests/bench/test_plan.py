import math
from dataclasses import replace

import pytest
from cells import GRID, pretended, ran

from anyteacher.bench.cell import Choice
from anyteacher.bench.claims import REGULARISER
from anyteacher.bench.plan import Plan

SCALE = GRID.scales[0]
ALONE = GRID.arm(SCALE, "depth")
TAUGHT = GRID.arm(SCALE, "depth", "segmentation", "inverted", "inverted")
RANDOM = GRID.arm(SCALE, "depth", "random", "inverted", "inverted")
TRAIL = GRID.arm(SCALE, "depth", method=REGULARISER)


def stages(plan):
    return {(cell.stage, cell.arm) for cell in plan.ready()}


def test_first_come_the_teachers_and_the_student_alone():
    plan = Plan(GRID, {})
    found = stages(plan)
    assert {stage for stage, _ in found} == {"teacher", "selection"}
    assert all(arm.alone for _, arm in found)
    assert plan.waiting() == list(plan.arms)
    assert plan.never_compared() == []  # they wait, and will be
    assert not plan.complete


def test_then_what_takes_their_settings_and_then_the_comparison():
    records, seen = {}, []
    while ready := Plan(GRID, records).ready():
        seen.append({(cell.stage, kind(cell.arm), cell.choice.form) for cell in ready})
        records |= {cell.key: pretended(cell) for cell in ready}
    assert seen == [
        {("teacher", "alone", "own"), ("selection", "alone", "own")},
        {
            ("selection", "taught", "own"),
            ("selection", "regularised", "own"),
            ("comparison", "alone", "own"),
        },
        {("selection", "taught", "pooled"), ("comparison", "regularised", "own")},
        {("comparison", "taught", "own")},
    ]
    plan = Plan(GRID, records)
    assert plan.count == len(records)
    assert plan.waiting() == []


def test_the_arms_of_a_seed_are_run_close_together():
    records = {}
    while ready := Plan(GRID, records).ready():
        order = [("teacher", "selection", "comparison").index(c.stage) for c in ready]
        assert order == sorted(order)
        for stage in ("selection", "comparison"):
            seeds = [cell.seed for cell in ready if cell.stage == stage]
            assert seeds == sorted(seeds)
        records |= {cell.key: pretended(cell) for cell in ready}
    arms = list(Plan(GRID, {}).arms)
    traditional = replace(TAUGHT, direction="traditional")
    assert arms.index(TAUGHT) == arms.index(traditional) + 1


def kind(arm):
    return "alone" if arm.alone else "regularised" if arm.teacher == "none" else "taught"


def test_no_run_is_made_twice_and_what_failed_is_made_again():
    records = ran(GRID)
    assert Plan(GRID, records).ready() == []
    key = next(iter(records))
    records[key] = replace(records[key], status="failed")
    assert [cell.key for cell in Plan(GRID, records).ready()] == [key]


def best_at(lr, weight):
    """Depth, whose metric is best where it is smallest, is best at these settings."""

    def measure(cell):
        choice = cell.choice
        good = choice.lr == lr and (cell.arm.alone or choice.weight == weight)
        return pretended(cell, val={cell_monitor(cell): 0.1 if good else 0.9})

    return measure


def cell_monitor(cell):
    return pretended(cell).monitor


def test_the_best_on_the_validation_data_is_chosen_and_the_rate_of_the_student_alone_kept():
    plan = Plan(GRID, ran(GRID, best_at(0.01, 0.1)))
    assert plan.chosen(ALONE) == Choice(lr=0.01)
    assert plan.chosen(TAUGHT) == Choice(lr=0.01, weight=0.1)
    assert plan.chosen(TRAIL) == Choice(lr=0.01, weight=0.1)
    # For segmentation larger is better: any of those with 0.9.
    other = plan.chosen(GRID.arm(SCALE, "segmentation"))
    assert other.lr == 0.001
    assert {record.cell["lr"] for record in plan.compared(TAUGHT).values()} == {0.01}


@pytest.mark.parametrize("best", [0.001, 0.01, 0.1, 1.0, 10.0, 100.0])
def test_a_weight_beyond_the_ends_is_found_and_the_form_tried_with_it(best):
    grid = replace(GRID, further=2)

    def measure(cell):
        distance = abs(math.log10(cell.choice.weight / best)) + (cell.choice.form != "pooled") / 9
        return pretended(cell, val={cell_monitor(cell): 0.1 + distance})

    records = ran(grid, measure)
    plan = Plan(grid, records)
    assert plan.chosen(TAUGHT) == Choice(weight=best, form="pooled")
    tried = [cell.choice.weight for cell in plan.weighing(TAUGHT)]
    ends = {0.001: (0.001, 1.0), 0.01: (0.001, 1.0), 10.0: (0.1, 100.0), 100.0: (0.1, 100.0)}
    low, high = ends.get(best, (0.01, 1.0) if best == 0.1 else (0.1, 10.0))
    assert (min(tried), max(tried)) == (low, high)
    assert plan.count == len(records)
    # What is not known yet adds to the count, never takes from it.
    assert Plan(grid, {}).count <= plan.count
    assert [cell.key for cell in plan.ready()] == []


def test_the_tap_and_the_form_are_tried_with_the_best_weight_alone():
    def measure(cell):
        good = cell.choice.form == "pooled" or cell.choice.weight == 1.0
        return pretended(cell, val={cell_monitor(cell): 0.1 if good else 0.9})

    records = ran(GRID, measure)
    plan = Plan(GRID, records)
    tried = {cell.choice for cell in plan.selection(TAUGHT)}
    chosen = plan.chosen(TAUGHT)
    assert {(choice.weight, choice.form) for choice in tried} == {
        (0.1, "own"),
        (1.0, "own"),
        (1.0, "pooled"),
    }
    # Of two that are as good, the first.
    assert (chosen.weight, chosen.form) == (1.0, "own")


def test_it_is_the_mean_over_the_seeds_that_is_best():
    def measure(cell):
        values = {0.001: {100: 0.1, 101: 0.8}, 0.01: {100: 0.3, 101: 0.3}}
        by_seed = values[cell.choice.lr] if cell.stage == "selection" else {}
        return pretended(cell, val={cell_monitor(cell): by_seed.get(cell.seed, 0.5)})

    assert Plan(GRID, ran(GRID, measure)).chosen(ALONE) == Choice(lr=0.01)


def test_what_diverged_is_not_chosen():
    def measure(cell):
        if cell.choice.lr == 0.001 and cell.seed == 101:
            return pretended(cell, "diverged")
        return pretended(cell, val={cell_monitor(cell): 10 * (1 - cell.choice.lr)})

    assert Plan(GRID, ran(GRID, measure)).chosen(ALONE) == Choice(lr=0.01)


def test_where_all_diverged_nothing_is_compared():
    def measure(cell):
        return pretended(cell, "diverged" if cell.stage == "selection" else "done")

    plan = Plan(GRID, ran(GRID, measure))
    assert plan.chosen(ALONE) is None
    assert plan.comparison(ALONE) == []
    assert set(plan.waiting()) == set(plan.arms)


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_an_arm_waits_for_its_teacher_alone(status):
    def measure(cell):
        failed = cell.stage == "teacher" and cell.arm.task == "segmentation"
        return pretended(cell, status if failed else "done")

    plan = Plan(GRID, ran(GRID, measure))
    assert plan.chosen(TAUGHT) is None
    assert plan.chosen(RANDOM) is not None
    assert {arm.teacher for arm in plan.waiting()} == {"segmentation"}
    # What failed is tried again; of what diverged nothing is left to run.
    assert plan.never_compared() == (plan.waiting() if status == "diverged" else [])
    assert plan.complete == (status == "diverged")


def test_test_data_are_read_by_no_run_that_something_is_chosen_by():
    for stage in ("selection", "comparison"):
        seeds = {
            record.cell["seed"] for record in ran(GRID).values() if record.cell["stage"] == stage
        }
        assert seeds == ({100, 101} if stage == "selection" else {0, 1, 2, 3, 4})


def test_records_of_one_seed_each():
    plan = Plan(GRID, ran(GRID))
    assert list(plan.compared(TAUGHT)) == [0, 1, 2, 3, 4]
    assert all(record.cell["seed"] == seed for seed, record in plan.compared(TAUGHT).items())
    with pytest.raises(KeyError):
        plan.compared(replace(TAUGHT, images=99))
