"""What is timed computes what it says."""

import pytest
import torch
from benchmarks.workloads import (
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
