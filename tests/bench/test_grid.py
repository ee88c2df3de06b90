from dataclasses import replace

import pytest
from cells import GRID, TAUGHT

from anyteacher.bench.cell import Arm, Choice
from anyteacher.bench.claims import CLAIMS, REGULARISER
from anyteacher.bench.grid import TEACHER_SEED, possible_forms

BY_NAME = {claim.name: claim for claim in CLAIMS}


def names(claim):
    return [
        (c.ours.task, c.ours.name, "" if c.baseline is None else c.baseline.name)
        for c in GRID.comparisons(BY_NAME[claim])
    ]


def test_a_claim_is_of_what_the_grid_has():
    assert names("C1") == [
        (
            "segmentation",
            "inverted from depth, inverted",
            "inverted from depth, traditional",
        ),
        (
            "depth",
            "inverted from segmentation, inverted",
            "inverted from segmentation, traditional",
        ),
    ]
    assert names("C3") == [
        ("depth", "inverted from random, inverted", "alone"),
        ("segmentation", "inverted from random, inverted", "alone"),
    ]
    assert names("C4") == [("digits", REGULARISER, "alone")]
    assert names("C6")[0] == ("segmentation", "inverted from depth, inverted", "")
    assert names("C6 distance")[0][2] == "inverted from segmentation, inverted"
    assert names("C2 at") == []


def test_every_arm_of_a_claim_is_run_and_the_student_alone_first():
    arms = GRID.arms()
    for claim in CLAIMS:
        for comparison in GRID.comparisons(claim):
            assert comparison.ours in arms
            assert comparison.baseline is None or comparison.baseline in arms
    alone = [arm.alone for arm in arms]
    assert alone == sorted(alone, reverse=True)
    assert {arm.task for arm in arms if arm.alone} == set(GRID.tasks)
    assert {seeds for _, seeds in arms.values()} == {5}
    assert {arm.images for arm in arms if arm.task == "digits"} == {20}


def test_an_arm_is_run_over_the_seeds_of_the_claim_that_asks_for_most():
    grid = replace(GRID, seeds=20)
    arms = grid.arms()
    taught = grid.arm(grid.scales[0], "depth", "segmentation", "inverted", "inverted")
    assert (BY_NAME["C5 time"].seeds, BY_NAME["C1"].seeds) == (5, 10)
    assert arms[taught][1] == 10


def test_teachers_are_trained_on_scenes_of_their_own():
    cells = replace(GRID, also_trained=("small",)).teacher_cells()
    assert list(cells) == [
        ("depth", "tiny"),
        ("depth", "small"),
        ("segmentation", "tiny"),
        ("segmentation", "small"),
    ]
    assert {cell.seed for cell in cells.values()} == {TEACHER_SEED}
    assert {cell.stage for cell in cells.values()} == {"teacher"}


def test_what_is_chosen_among():
    alone = GRID.arm(GRID.scales[0], "depth")
    rates = GRID.choices(alone, Choice())
    assert [(choice.lr, choice.weight_decay) for choice in rates] == [(0.001, 0.05), (0.01, 0.05)]
    assert GRID.further_choices(alone, rates[0]) == []


def test_first_the_weight_is_chosen_and_then_the_tap_and_the_form():
    grid = replace(GRID, taps=("middle", "deep"))
    base = Choice(lr=0.01)
    weights = grid.choices(TAUGHT, base)
    assert weights == [replace(base, weight=w, tap="middle", form="own") for w in (0.1, 1.0)]
    further = grid.further_choices(TAUGHT, weights[0])
    assert [(c.lr, c.weight) for c in further] == [(0.01, 0.1)] * 3
    assert [(c.tap, c.form) for c in further] == [
        ("middle", "pooled"),
        ("deep", "own"),
        ("deep", "pooled"),
    ]


def weights(*values):
    return [Choice(weight=value) for value in values]


@pytest.mark.parametrize(
    ("tried", "best", "expected"),
    [
        (weights(0.1, 1.0), 1.0, weights(10.0)),
        (weights(0.1, 1.0), 0.1, weights(0.01)),
        (weights(0.1, 1.0, 10.0), 1.0, []),
        (weights(0.1, 1.0, 10.0), 10.0, weights(100.0)),
        (weights(0.1, 1.0, 10.0, 100.0), 100.0, []),  # two were added: no more
        (weights(1.0), 1.0, []),
    ],
)
def test_where_the_best_weight_is_at_an_end_a_further_one_is_tried(tried, best, expected):
    grid = replace(GRID, further=2)
    assert grid.wider_choices(TAUGHT, tried, Choice(weight=best)) == expected
    assert GRID.wider_choices(TAUGHT, tried, Choice(weight=best)) == []
    alone = grid.arm(grid.scales[0], "depth")
    assert grid.wider_choices(alone, grid.choices(alone, Choice()), Choice(lr=0.01)) == []


@pytest.mark.parametrize(
    ("task", "forms"), [("depth", ["own"]), ("digits", ["own", "pooled"])], ids=str
)
def test_more_forms_are_tried_where_an_image_has_one_answer(task, forms):
    grid = replace(GRID, forms=("own",), image_forms=("pooled",))
    arm = grid.arm(grid.scales[0], task, "random", "inverted", "inverted")
    tried = [*grid.choices(arm, Choice()), *grid.further_choices(arm, Choice())]
    assert list(dict.fromkeys(choice.form for choice in tried)) == forms


def test_a_regulariser_has_a_weight_and_a_tap():
    grid, arm = replace(GRID, taps=("middle", "deep")), Arm("depth", 16, "tiny", method=REGULARISER)
    weights = grid.choices(arm, Choice())
    assert [(c.weight, c.tap, c.form) for c in weights] == [
        (0.1, "middle", "own"),
        (1.0, "middle", "own"),
    ]
    assert grid.further_choices(arm, weights[1]) == [Choice(weight=1.0, tap="deep")]


@pytest.mark.parametrize(
    ("method", "forms"),
    [
        ("inverted", ["own", "pooled"]),
        ("fitnet", ["own", "pooled", "batch", "pooled, batch"]),
        ("at", ["own", "batch"]),
        ("simple_recipe", ["own", "positions", "batch", "positions, batch"]),
    ],
)
def test_forms_are_those_that_a_method_allows_each_once(method, forms):
    assert possible_forms(replace(TAUGHT, method=method)) == forms
