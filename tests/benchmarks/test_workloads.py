"""What is timed computes what it says."""

import pytest
import torch
import torch.nn.functional as F
from benchmarks.workloads import (
    SHAPES,
    LinkAlone,
    Shape,
    Steps,
    encoder_decoders,
    resnet_from_resnet,
    resnet_from_vit,
)


@pytest.mark.parametrize(
    ("make", "sizes"),
    [
        (encoder_decoders, (2, 32, 4)),
        (resnet_from_resnet, (2, 64)),
        (resnet_from_vit, (2, 64)),
    ],
)
def test_by_hand_the_step_is_that_of_the_library(make, sizes):
    steps = Steps(make(*sizes))
    by_hand, library = steps.by_hand(), steps.distilled("inverted")
    torch.testing.assert_close(library, by_hand, rtol=1e-5, atol=0)
    assert library > steps.floor()  # and a link's loss is in both
    by_hand.backward()
    library.backward()
    distiller = steps.distillers["inverted"]
    matrix = distiller.connections[0].projector.linear.weight
    torch.testing.assert_close(matrix.grad, steps.matrix.grad, rtol=1e-3, atol=1e-7)
    pairs = zip(distiller.student.parameters(), steps.students["by hand"].parameters(), strict=True)
    for ours, theirs in pairs:
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-2, atol=1e-5)


def test_a_step_moves_every_student_and_no_teacher():
    steps = Steps(encoder_decoders(2, 16, 4))
    sides = steps.sides()
    assert list(sides) == ["floor", "floor again", "by hand", "inverted", "traditional"]
    students = steps.students | {way: d.student for way, d in steps.distillers.items()}
    before = {name: student.head.weight.detach().clone() for name, student in students.items()}
    matrix = steps.matrix.detach().clone()
    teacher = [tensor.clone() for tensor in steps.teacher.state_dict().values()]
    for step in sides.values():
        step()
    for name, student in students.items():
        assert not torch.equal(student.head.weight, before[name]), name
    assert not torch.equal(steps.matrix, matrix)
    assert all(map(torch.equal, teacher, steps.teacher.state_dict().values()))


@pytest.mark.parametrize("kind", ["map", "channels-last", "tokens", "vector"])
def test_a_link_alone_has_the_gradients_of_the_formula(kind):
    alone = LinkAlone(Shape(kind, batch=3, channels=4, places=5 if kind != "tokens" else 17))
    ours, theirs = alone.student.feature.detach(), alone.teacher.feature
    if kind == "tokens":
        ours, theirs = ours[:, 1:], theirs[:, 1:]  # the class token is left out
    elif kind != "vector":
        ours, theirs = ours.permute(0, 2, 3, 1), theirs.permute(0, 2, 3, 1)
    ours, theirs = ours.flatten(0, -2), theirs.flatten(0, -2)
    weight = alone.connections["inverted"].projector.linear.weight.detach()
    residual = ours - theirs @ weight.T
    student, matrix = alone.gradients("inverted")
    assert student.shape == alone.student.feature.shape
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
