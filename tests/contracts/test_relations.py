"""What each loss of relations between images must and must not see."""

import pytest
import torch
from slow import close, pair

from anyteacher.errors import LayoutError
from anyteacher.losses import (
    cka,
    correlation_congruence,
    pkt,
    rkd_angle,
    rkd_distance,
    similarity_preserving,
)
from anyteacher.losses.gram import flat

ALL = [similarity_preserving, rkd_distance, rkd_angle, pkt, correlation_congruence, cka]
every_loss = pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.__name__)


@every_loss
def test_the_order_of_the_elements_and_their_rotation_make_no_difference(loss):
    student, teacher = pair([(5, 6), (5, 4)])
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    close(loss(student @ rotation, teacher), loss(student, teacher))
    close(loss(student[:, torch.randperm(6)], teacher), loss(student, teacher))


@every_loss
def test_the_scale_of_a_side_makes_no_difference(loss):
    student, teacher = pair([(5, 6), (5, 4)])
    close(loss(1e3 * student, 1e-3 * teacher), loss(student, teacher))


@pytest.mark.parametrize("loss", [rkd_distance, rkd_angle, cka])
def test_a_shift_of_all_images_makes_no_difference(loss):
    student, teacher = pair([(5, 6), (5, 4)])
    close(loss(student + 3, teacher - torch.arange(4.0)), loss(student, teacher))
    # In single precision, features with much in common keep their relations.
    shifted = loss(student.float() + 100, teacher.float())
    assert abs(float(shifted) - float(loss(student, teacher))) < 1e-4


@pytest.mark.parametrize("loss", [pkt, correlation_congruence])
def test_the_length_of_each_image_makes_no_difference(loss):
    student, teacher = pair([(5, 6), (5, 4)])
    lengths = 0.1 + torch.rand(5, 1, dtype=torch.float64)
    close(loss(student * lengths, teacher), loss(student, teacher))


@every_loss
def test_the_order_of_the_images_makes_no_difference(loss):
    student, teacher = pair([(5, 6), (5, 4)])
    order = torch.randperm(5)
    close(loss(student[order], teacher[order]), loss(student, teacher))
    assert abs(float(loss(student[order], teacher)) - float(loss(student, teacher))) > 1e-4


@every_loss
def test_tokens_and_channels_last_maps_give_the_same_without_a_copy(loss):
    student, teacher = pair([(4, 3, 2, 5), (4, 6, 2, 5)])
    expected = loss(student, teacher)
    last = student.to(memory_format=torch.channels_last).requires_grad_()
    close(loss(last, teacher).detach(), expected)
    tokens = torch.cat([torch.zeros(4, 1, 3), student.flatten(2).mT], 1)
    patches = tokens[:, 1:].mT.reshape(4, 3, 2, 5)
    close(loss(patches, teacher), expected)
    assert flat(last).data_ptr() == last.data_ptr()
    assert flat(patches).data_ptr() == patches.data_ptr() == tokens[:, 1:].data_ptr()


@every_loss
def test_repeated_and_empty_images_keep_the_gradient_small(loss):
    """A dead image, of zeros, and two equal ones: no gradient there of the size of 1 / eps."""
    student, teacher = (x.float() for x in pair([(5, 6), (5, 4)]))
    student[1], student[3] = 0, student[2]
    loss(student.requires_grad_(), teacher).backward()
    assert 0 < student.grad.abs().max() < 10


@every_loss
@pytest.mark.parametrize("value", [0.0, 0.1, 1e3])
def test_a_side_of_equal_images_has_no_relations_to_move(loss, value):
    student = torch.full((6, 50), value).requires_grad_()
    teacher = torch.randn(6, 9).requires_grad_()
    result = loss(student, teacher)
    result.backward()
    assert result.isfinite()
    assert student.grad.isfinite().all()
    if loss in (rkd_distance, rkd_angle, cka):
        assert not student.grad.any()
        assert not teacher.grad.any() or loss is not cka
    student = student.detach()
    close(loss(student, student), 1 if loss is cka else 0, 1e-6)


@pytest.mark.parametrize(("loss", "fewest"), [*zip(ALL, [2, 3, 3, 2, 2, 3], strict=True)])
def test_a_batch_that_says_nothing_is_refused(loss, fewest):
    student, teacher = pair([(fewest - 1, 3), (fewest - 1, 4)])
    with pytest.raises(LayoutError, match=rf"at least {fewest} of them, got {fewest - 1}\. Use a"):
        loss(student, teacher)
    student, teacher = pair([(fewest, 3), (fewest, 4)])
    assert loss(student, teacher) > 1e-6  # enough to say something
