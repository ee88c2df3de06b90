import copy
import pickle

import pytest
import torch

import anyteacher as at
from anyteacher.errors import ConfigError


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("direction", "invertd", r"direction cannot be 'invertd'. Did you mean inverted\?"),
        ("compare", "position", r"compare cannot be 'position'. Did you mean positions\?"),
        ("grid", "both", "grid cannot be 'both'. Known: student, teacher"),
        ("resize", "nearest", "resize cannot be 'nearest'"),
        ("student_norm", "L2", r"student_norm cannot be 'L2'. Known: batch, l2"),
        ("teacher_norm", "bach", r"Did you mean batch\?"),
        ("weight", -1.0, "must be 0 or more, got -1.0"),
        ("weight", float("nan"), "must be 0 or more, got nan"),
        ("weight", float("inf"), "must be 0 or more, got inf"),
        ("warmup", -5, "got 1.0 and -5"),
    ],
)
def test_impossible_settings_are_refused(setting, value, message, unchecked):
    with pytest.raises(ConfigError, match=message):
        at.Link("s", "t", **{setting: value})


def test_a_direction_without_a_meaning_is_refused_when_asked():
    link = at.Link("a", "b", loss=at.losses.AB())
    with pytest.raises(
        ConfigError,
        match=r"AB cannot be used with direction='inverted', only with 'traditional' or 'none'",
    ):
        link.check_direction()
    for direction in at.losses.AB.directions:
        link.filled(direction=direction).check_direction()


def test_the_weight_grows_during_the_warm_up():
    link = at.Link("s", "t", weight=2.0, warmup=4)
    weights = [float(link.weight_at(torch.tensor(step))) for step in range(6)]
    assert weights == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    assert at.Link("s", "t", weight=2.0).weight_at(torch.tensor(0)) == 2.0


@pytest.mark.parametrize(("setting", "value"), [("loss", "LogSum"), ("projector", "MLP")])
def test_names_in_place_of_objects_are_refused(setting, value, unchecked):
    with pytest.raises(ConfigError, match=f"{setting} is an object such as .*got '{value}'"):
        at.Link("a", "b", **{setting: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": ["c"]}, r"as many taps of the student as of the teacher, got 2 and 1"),
        ({"student": [], "teacher": []}, r"got 0 and 0"),
        ({"level_weights": [1.0]}, r"for each of the link's 2 levels, got \[1.0\]"),
        ({"level_weights": [1.0, -1.0]}, r"0 or more"),
        ({"loss": at.losses.FSP(), "level_weights": [1.0, 1.0]}, r"takes no level_weights"),
        (
            {"student": "a", "teacher": ["c"], "loss": at.losses.FSP()},
            r"FSP relates the levels .* needs 2 or more, got \[a\] and \[c\]. Give both sides",
        ),
    ],
)
def test_levels_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        at.Link(**({"student": ["a", "b"], "teacher": ["c", "d"]} | settings))


REGULARIZER = at.regularizers.TrailingEnergy(0.25)


def test_a_regulariser_needs_no_teacher():
    link = at.Link("a", loss=REGULARIZER)
    assert link.teacher_taps == ()
    assert link.taps_by_name == "a:TrailingEnergy"
    assert at.Link(["a", "b"], loss=REGULARIZER).taps_by_name == "a+b:TrailingEnergy"
    for direction in ("inverted", "traditional", "none"):
        assert direction in link.directions
    link.check_direction()


@pytest.mark.parametrize(
    "settings",
    [
        {"teacher": "b"},
        {"projector": at.projectors.MLP()},
        {"projector": at.projectors.Linear(bias=True)},
        {"direction": "traditional"},
        {"grid": "teacher"},
        {"resize": "pool"},
        {"teacher_norm": "l2"},
        {"teacher_layout": at.Layout("map")},
        {"of": "big"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_regulariser_takes_nothing_of_a_teacher(settings):
    (name,) = settings
    with pytest.raises(ConfigError, match=f"loss of the student alone, .* takes no {name}. For a"):
        at.Link("a", loss=REGULARIZER, **settings)


def test_a_loss_without_a_teacher_is_refused():
    with pytest.raises(ConfigError, match=r"MSE compares .* no `teacher` tap. Give one, or a loss"):
        at.Link("a")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"student": []}, r"got 0 and 0"),
        ({"level_weights": [1.0, 2.0]}, "for each of the link's 1 levels"),
    ],
)
def test_levels_of_a_regulariser(settings, message):
    with pytest.raises(ConfigError, match=message):
        at.Link(**({"student": "a", "loss": REGULARIZER} | settings))


def test_a_loss_of_all_levels_takes_no_weights_of_levels():
    class Both(at.losses.LevelLoss):
        def forward(self, student, teacher):
            return student[0].sum()

    with pytest.raises(ConfigError, match=r"Both is a loss of all levels at once; it takes no"):
        at.Link(["a", "b"], ["c", "d"], loss=Both(), level_weights=[1.0, 1.0])


def test_its_taps_are_parsed_and_name_it():
    link = at.Link(["layer1", "input:fc"], ["blocks.2[0]", at.Tap("norm")])
    assert link.student_taps == (at.Tap.parse("layer1"), at.Tap.parse("input:fc"))
    assert link.teacher_taps == (at.Tap.parse("blocks.2[0]"), at.Tap("norm"))
    assert link.taps_by_name == "layer1+input:fc<-blocks.2[0]+norm"
    assert at.Link("a", "b").taps_by_name == "a<-b"


def test_a_copy_with_other_settings_leaves_the_first_as_it_was():
    link = at.Link("a", "b", weight=2.0)
    assert link.taps_by_name == "a<-b"  # parsed once, and not taken over by the copy
    other = link.filled(student="c", warmup=3)
    assert (other.taps_by_name, other.weight, other.warmup) == ("c<-b", 2.0, 3)
    assert (link.taps_by_name, link.warmup) == ("a<-b", 0)
    with pytest.raises(ConfigError, match="got -1"):
        link.filled(weight=-1.0)
    for again in (copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
        assert again.taps_by_name == "c<-b"


def test_its_settings_cannot_be_changed_in_place():
    with pytest.raises(AttributeError, match="cannot assign"):
        at.Link("a", "b").weight = 2.0
