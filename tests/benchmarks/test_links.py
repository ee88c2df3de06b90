"""A link alone computes what it says, in the directions that it has."""

import pytest
import torch
import torch.nn.functional as F
from benchmarks.links import SHAPES, LinkAlone, Shape

from anyteacher import Link, losses


@pytest.mark.parametrize("kind", ["map", "channels-last", "tokens", "vector"])
def test_a_link_alone_has_the_gradients_of_the_formula(kind):
    alone = LinkAlone(Shape(kind, batch=3, channels=4, places=5 if kind != "tokens" else 17))
    ours, theirs = alone.student[0].feature.detach(), alone.teacher[0].feature
    if kind == "tokens":
        ours, theirs = ours[:, 1:], theirs[:, 1:]  # the class token is left out
    elif kind != "vector":
        ours, theirs = ours.permute(0, 2, 3, 1), theirs.permute(0, 2, 3, 1)
    ours, theirs = ours.flatten(0, -2), theirs.flatten(0, -2)
    weight = alone.connections["inverted"].projector.linear.weight.detach()
    residual = ours - theirs @ weight.T
    student, matrix = alone.gradients("inverted")
    assert student.shape == alone.student[0].feature.shape
    torch.testing.assert_close(alone.loss("inverted"), residual.square().mean())
    torch.testing.assert_close(matrix, -2 / residual.numel() * residual.T @ theirs)
    torch.testing.assert_close(
        student.square().sum(), (2 / residual.numel() * residual).square().sum()
    )
    weight = alone.connections["traditional"].projector.linear.weight.detach()
    torch.testing.assert_close(alone.loss("traditional"), F.mse_loss(ours @ weight.T, theirs))


def test_the_shapes_have_four_times_the_channels_and_every_layout():
    assert {shape.kind for shape in SHAPES} == {"map", "channels-last", "tokens", "vector"}
    for shape in (Shape("map", 2, 3, 4), Shape("vector", 2, 3)):
        student, teacher = shape.sources("cpu")
        assert student.feature.requires_grad
        assert not teacher.feature.requires_grad
        assert teacher.feature.shape[1] == 4 * student.feature.shape[1]


def test_logits_are_as_wide_on_both_sides():
    student, teacher = Shape("vector", 2, 5, times=1).sources("cpu")
    assert student.feature.shape == teacher.feature.shape == (2, 5)


@pytest.mark.parametrize(
    ("loss", "times", "expected"),
    [
        (losses.MSE(), 4, ["inverted", "traditional"]),
        (losses.MSE(), 1, ["inverted", "traditional", "none"]),
        (losses.AT(), 4, ["inverted", "traditional", "none"]),
        (losses.AB(), 4, ["traditional"]),
        (losses.KD(), 1, ["none"]),
    ],
)
def test_a_link_is_there_in_every_direction_that_has_a_meaning(loss, times, expected):
    alone = LinkAlone(Shape("map", 2, 3, 2, times), link=Link("", "", loss=loss))
    assert list(alone.connections) == expected
    for way in expected:
        gradients = alone.gradients(way)
        assert len(gradients) == (1 if way == "none" else 2)
        assert gradients[0].shape == (2, 3, 2, 2)


def test_a_link_of_two_levels_has_features_of_two_levels():
    link = Link(["a", "b"], ["a", "b"], loss=losses.FSP())
    alone = LinkAlone(Shape("map", 2, 3, 2), link=link)
    assert [len(side) for side in (alone.student, alone.teacher)] == [2, 2]
    assert [gradient.ndim for gradient in alone.gradients("inverted")] == [4, 4, 2, 2]


def test_a_loss_is_told_the_classes_and_places_of_the_images():
    alone = LinkAlone(Shape("vector", 4, 3, times=1), link=Link("", "", loss=losses.DKD()))
    assert alone.given["targets"].tolist() == [0, 1, 2, 0]
    assert alone.loss("none").isfinite()
