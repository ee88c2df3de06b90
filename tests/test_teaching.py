import copy

import pytest
import torch
from torch import nn

import anyteacher as at
from anyteacher.errors import ConfigError, TeacherError
from anyteacher.teaching import Teachers, calibrate, named


def model(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 2, 2), nn.ReLU(), nn.Conv2d(width, 2, 1))


def watched(links, **teachers):
    staff = Teachers(teachers)
    staff.watch(links)
    return staff


def test_modules_become_teachers_and_keep_their_names():
    ready = at.Teacher(model())
    staff = Teachers({"a": model(), "b": ready})
    assert list(staff.by_name) == ["a", "b"]
    assert isinstance(staff.by_name["a"], at.Teacher)
    assert staff.by_name["b"] is ready
    assert list(Teachers(model()).by_name) == ["teacher"]


def test_only_the_teachers_of_links_are_watched():
    staff = watched([at.Link("x", "0", of="a")], a=model(), b=model())
    assert list(staff.recorders) == ["a"]
    assert staff.by_name["a"].model[0]._forward_hooks
    assert not staff.by_name["b"].model[0]._forward_hooks


def test_links_without_a_teacher_watch_none():
    alone = at.Link("x", loss=at.regularizers.LogDet())
    assert Teachers(None).by_name == {}
    assert watched([alone]).recorders == {}
    assert list(watched([alone, at.Link("x", "0", of="a")], a=model()).recorders) == ["a"]


def test_names_and_teachers_are_filled_in():
    alone = at.Link("x", loss=at.regularizers.LogDet())
    links = named([alone, at.Link("x", "0"), at.Link("x", "0", name="mine")], Teachers(model()))
    assert [link.name for link in links] == ["x:LogDet", "x<-0", "mine"]
    assert [link.of for link in links] == ["", "teacher", "teacher"]
    assert named([alone], Teachers(None))[0].of == ""
    with pytest.raises(ConfigError, match="Two links are named 'x:LogDet'"):
        named([alone, alone], Teachers(None))
    with pytest.raises(ConfigError, match=r"'x<-0' compares .* and the distiller has none. Give"):
        named([at.Link("x", "0")], Teachers(None))


def test_a_probe_knows_the_modules_behind_outputs():
    staff = watched([at.Link(["x", "y"], ["2", "input:2"], of="a")], a=model())
    last = staff.by_name["a"].model[2]
    sources = staff.probe("a", torch.rand(2, 3, 8, 8)).values()
    assert [source.module for source in sources] == [last, None]


def test_features_come_with_the_size_that_the_teacher_sees():
    staff = watched([at.Link("x", "0", of="a")], a=at.Teacher(model(), size=(8, 12)))
    images = torch.rand(2, 3, 16, 20)
    probed = staff.probe("a", images)
    found = staff.features("a", images, None)
    (source,) = found.values()
    assert source.image_size == (8, 12)
    assert source.feature.shape == (2, 4, 4, 6)
    assert torch.equal(source.feature, next(iter(probed.values())).feature)
    assert not source.feature.requires_grad


def test_other_images_for_the_teachers():
    staff = watched([at.Link("x", "0", of="a")], a=model())
    images, others = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    expected = staff.by_name["a"].model[0](others)
    for given in (others, {"a": others, "b": images}):
        (source,) = staff.features("a", images, given).values()
        assert torch.equal(source.feature, expected)
    with pytest.raises(ConfigError, match=r"no images for teacher 'a'"):
        staff.features("a", images, {"b": others})


def test_a_teacher_that_is_not_calibrated_is_refused():
    random = at.teachers.Random(lambda: nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4)))
    staff = watched([at.Link("x", "0", of="a")], a=random)
    with pytest.raises(TeacherError, match=r"Teacher 'a' is random .* Call teacher.calibrate"):
        staff.probe("a", torch.rand(2, 3, 8, 8))


def test_a_student_among_the_teachers_is_refused():
    student = model()
    with pytest.raises(TeacherError, match=r"shares parameters with the student"):
        Teachers(student).check_apart_from(student)
    Teachers(model()).check_apart_from(student)


def test_copies_share_the_teachers_and_have_hooks_of_their_own():
    staff = watched([at.Link("x", "0", of="a")], a=model())
    other = copy.deepcopy(staff)
    assert other.by_name["a"] is staff.by_name["a"]
    assert len(staff.by_name["a"].model[0]._forward_hooks) == 2
    other.recorders["a"].remove()
    images = torch.rand(2, 3, 8, 8)
    assert staff.features("a", images, None)


def test_random_teachers_that_wait_for_statistics_are_calibrated():
    def build():
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

    norm = at.ImageNorm((0.5,), (0.5,))
    waiting, ready = at.teachers.Random(build), at.Teacher(build())
    before = ready.model[1].running_mean.clone()
    calibrate(
        {"waiting": waiting, "ready": ready}, [torch.rand(4, 3, 8, 8) for _ in range(2)], norm
    )
    assert waiting.calibrated
    assert waiting.model[1].running_mean.abs().sum() > 0
    assert torch.equal(ready.model[1].running_mean, before)
    with pytest.raises(TeacherError, match="was fed images of"):
        waiting.feed(at.IMAGENET)


def test_a_window_per_step_is_told_to_every_teacher():
    link = at.Link("0", "0", of="a")
    staff = watched([link], a=model())
    small, large = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16)
    (tap,) = link.teacher_taps
    plain = staff.features("a", small, None)[tap]
    assert plain.part is None
    more = staff.features("a", small, {"a": large}, at.Window(4, 8, 8, 8))[tap]
    assert more.part == (0.25, 0.5, 0.75, 1.0)
    assert more.feature.shape[2:] == (8, 8)
