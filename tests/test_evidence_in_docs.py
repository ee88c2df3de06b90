"""What the prose of `docs/bench.md` and the README says of the published records is so."""

from functools import cache

import record_tables

from anyteacher.bench.claims import REGULARISER
from anyteacher.bench.evidence import outcomes
from anyteacher.bench.pairs import against_alone


@cache
def said(name):
    """What the records of a grid say of each of its claims, by the claim's name."""
    return {found.claim.name: found for found in outcomes(record_tables.published()[name])}


def verdicts(found):
    """Of each comparison, by the student's task."""
    by_task = {}
    for row in found.rows:
        by_task.setdefault(row.comparison.ours.task, []).append(row.verdict)
    return by_task


def against_alone_in_the_matrix(task):
    """What a random teacher brings a task through an inverted projection."""
    plan = record_tables.published()["matrix"]
    (scale,) = plan.grid.scales
    arm = plan.grid.arm(scale, task, "random", "inverted", "inverted")
    return against_alone(plan, scale, arm)


def test_the_direction():
    c1 = said("matrix")["C1"]
    assert c1.count("supported") == 0
    assert c1.mean.high < 0
    refuted = {task for task, found in verdicts(c1).items() if "not supported" in found}
    assert refuted == {"normals", "relighting"}
    ahead = [r.relative()[0] > 0 for r in c1.rows if r.comparison.ours.task == "classification"]
    assert sum(ahead) > len(ahead) / 2
    assert said("matrix")["C1 same task"].verdict == "supported"
    assert said("matrix")["C1 same task"].mean.high < 0


def test_random_teachers():
    found = said("random-teachers")
    assert verdicts(found["C3"]) == {
        "depth": ["undecided"],
        "relighting": ["supported"],
        "segmentation": ["not supported"],
    }
    assert verdicts(said("matrix")["C3"])["segmentation"] == ["supported"]
    assert found["C3 traditional"].verdict == "supported"
    assert found["C3 traditional elsewhere"].verdict == "supported"
    rows = found["C1 random"].rows
    brought = {row.comparison.ours.task: list(row.gains) for row in rows}
    assert all(inverted.high > 0 for inverted, _ in brought.values())
    assert {task for task, (_, trad) in brought.items() if trad.high < 0} == {
        "segmentation",
        "classification",
    }
    inverted, traditional = brought["relighting"]
    assert traditional.mean > inverted.mean
    assert min(traditional.low, inverted.low) > 0
    # What the matrix had said of two, and what the demo says of the digits.
    edges = against_alone_in_the_matrix("edges")
    assert edges.high < 0
    assert all(gain.low < 0 < gain.high for gain in brought["digits"])


def test_many_methods():
    found = said("methods").values()
    assert sum(one.count("supported") for one in found) == 0
    assert sum(one.count("not supported") for one in found) > 1


def test_many_arms_of_the_methods_are_nearly_the_student_alone():
    plan = record_tables.published()["methods"]
    taught = [arm for arm in plan.arms if not arm.alone]
    least = [arm for arm in taught if plan.chosen(arm).weight == 0.001]
    assert len(least) > len(taught) / 4
    (recipe,) = (
        arm
        for arm in taught
        if (arm.task, arm.method, arm.direction) == ("depth", "simple_recipe", "inverted")
    )
    assert {cell.choice.weight for cell in plan.weighing(recipe)} == {0.1, 1.0, 10.0}


def test_the_rank_and_the_cost():
    matrix = said("matrix")
    assert matrix["C6"].count("supported") == len(matrix["C6"].rows)
    assert matrix["C6 distance"].verdict != "supported"
    assert matrix["C5 time"].verdict == matrix["C5 memory"].verdict == "undecided"
    assert matrix["C5 teacher-free time"].verdict == "not supported"


def test_without_a_teacher():
    digits, rooms = said("teacher-free").values()
    helps = [row.comparison.ours.method for row in digits.rows if row.verdict == "supported"]
    assert helps == [REGULARISER]
    assert rooms.count("supported") == 0
    matrix = verdicts(said("matrix")["C4"]) | verdicts(said("matrix")["C4 elsewhere"])
    assert matrix.pop("digits") == ["undecided"]
    assert {verdict for (verdict,) in matrix.values()} == {"undecided", "not supported"}


def test_what_was_varied():
    variants = said("variants")
    assert sum(one.count("supported") for one in variants.values()) == 0
    assert said("ample")["C1"].mean.high < 0
    *_, weak = record_tables.what_is_varied().splitlines()
    assert "weaker teachers" in weak
    assert "**" not in weak
