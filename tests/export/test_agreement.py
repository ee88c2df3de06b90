import math

import pytest
import torch

from anyteacher.errors import ExportError
from anyteacher.export.agreement import TOLERANCE, agreement, difference
from anyteacher.models import EncoderDecoder
from anyteacher.normalization import ImageNorm
from anyteacher.readout import Metres
from anyteacher.student import Student

SHAPE = (2, 3, 16, 24)


@pytest.fixture
def student():
    return Student(
        EncoderDecoder(1, width=4), norm=ImageNorm(), readout=Metres("log", 0.1, 9), description={}
    )


def test_a_share_of_the_range_from_zero(student):
    def off(images):
        depth = student(images)
        depth[1, 0, 3, 4] += 0.02
        return depth

    with torch.no_grad():
        largest = (
            student(torch.rand(SHAPE, generator=torch.Generator().manual_seed(0))).max().item()
        )
    assert difference(student, off, SHAPE) == pytest.approx(0.02 / largest, rel=1e-3)
    assert difference(student, student, SHAPE) == 0


def test_below_the_tolerance_it_is_told(student):
    def near(images):
        return student(images) * (1 + TOLERANCE / 2)

    assert agreement(student, near, [SHAPE]) == pytest.approx(TOLERANCE / 2, rel=1e-2)


@pytest.mark.parametrize("factor", [1 + 2 * TOLERANCE, float("nan")])
def test_above_it_is_refused_with_the_difference(student, factor):
    shapes = [SHAPE, (3, 3, 8, 8)]
    told = "nan" if math.isnan(factor) else "0.0002"
    with pytest.raises(ExportError, match=rf"\(3, 3, 8, 8\).*by {told} .*0.0001 is allowed"):
        agreement(student, lambda x: student(x) * (factor if x.shape[0] == 3 else 1), shapes)


def test_another_shape_is_refused(student):
    with pytest.raises(ExportError, match=r"gives \(2, 1, 16, 23\).*student \(2, 1, 16, 24\)"):
        difference(student, lambda images: student(images)[..., 1:], SHAPE)
