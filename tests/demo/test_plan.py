from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from anyteacher.demo.depth import BATCH_SIZE
from anyteacher.demo.plan import DEPTH, DIGITS, quick
from anyteacher.tasks import Classification, Depth

RECIPE = Path(__file__).parents[2] / "configs" / "rooms-segmentation.yaml"
both = pytest.mark.parametrize("study", [DEPTH, DIGITS], ids=lambda study: study.name)


@both
def test_the_first_arm_alone_has_no_teacher(study):
    assert [arm.teacher == "none" for arm in study.arms] == [True] + [False] * (len(study.arms) - 1)
    assert len({arm.name for arm in study.arms}) == len(study.arms)


def test_taught_arms_differ_in_one_thing():
    """Weight and form of comparison are chosen for each arm alike; the rest is what is studied."""

    def studied(arm):
        return arm.teacher, arm.direction

    _, traditional, inverted, random = DEPTH.arms
    assert studied(traditional) == ("segmentation", "traditional")
    assert studied(inverted) == ("segmentation", "inverted")
    assert studied(random) == ("random", "inverted")
    assert [studied(arm) for arm in DIGITS.arms[1:]] == [
        ("random", "traditional"),
        ("random", "inverted"),
    ]


@both
def test_seeds_are_none_that_anything_was_chosen_or_trained_with(study):
    assert len(set(study.seeds)) == len(study.seeds) >= 2
    assert max(study.seeds) < 100  # the weights were chosen with seeds from 100 on
    assert yaml.safe_load(RECIPE.read_text())["data"]["init_args"]["seed"] not in study.seeds


def test_digits_have_as_many_seeds_as_the_interval_was_planned_for():
    assert len(DIGITS.seeds) == 20
    assert DIGITS.train_size == 50


@pytest.mark.parametrize("study", [DEPTH, quick(DEPTH)], ids=["full", "quick"])
def test_depth_trains_for_the_steps_that_it_says(study):
    """Whole epochs of whole batches."""
    assert study.train_size % BATCH_SIZE == 0
    assert study.steps % (study.train_size // BATCH_SIZE) == 0


@both
def test_quick_is_the_same_study_with_less_of_everything(study):
    short = quick(study)
    assert short.seeds == study.seeds[: len(short.seeds)]
    assert 2 <= len(short.seeds) < len(study.seeds)  # an interval needs two
    assert short.steps < study.steps / 10
    sizes = ("train_size", "val_size", "test_size")
    assert all(getattr(short, size) <= getattr(study, size) for size in sizes)
    same = {name: getattr(study, name) for name in ("seeds", "steps", *sizes)}
    assert replace(short, **same) == study  # the same arms
    assert quick(short) == short


def test_the_deciding_metric_is_the_tasks_own():
    depth, digits = Depth(), Classification(10)
    assert (DEPTH.metric, DEPTH.mode) == (depth.monitor, depth.mode)
    assert (DIGITS.metric, DIGITS.mode) == (digits.monitor, digits.mode)
