import pytest
import torch
from torch import nn

from anyteacher.errors import ExportError
from anyteacher.export.freedom import Freedom, freest, ladder, line_of
from anyteacher.models import ConvNet
from anyteacher.normalization import ImageNorm
from anyteacher.readout import Classes
from anyteacher.student import Student


class Picky(nn.Module):
    """Takes what it is told to."""

    def __init__(self, takes):
        super().__init__()
        self.takes = takes

    def forward(self, x):
        if not self.takes(*x.shape):
            raise ValueError(f"\n  not {tuple(x.shape)}.\nmore")
        return x.mean((2, 3))


def student(takes=lambda *shape: True):
    return Student(Picky(takes), norm=ImageNorm(), readout=Classes(), description={})


TAKES = {
    "any number of images of any size": lambda b, c, h, w: True,
    "any number of images of any size, both sides multiples of 32": lambda b, c, h, w: (
        not (h % 32 or w % 32)
    ),
    "any number of images of 64 x 96": lambda b, c, h, w: (h, w) == (64, 96),
    "one image of 64 x 96": lambda *shape: shape == (1, 3, 64, 96),
}


@pytest.mark.parametrize("text", TAKES)
def test_as_free_as_the_model(text):
    made, freedom, why = freest(student(TAKES[text]), str, 3, (64, 96))
    assert made == str(freedom) == text
    assert bool(why) == (text != next(iter(TAKES)))
    if why:
        assert why == "images of 77 x 103 (not (3, 3, 77, 103))"


def test_as_free_as_the_graph():
    def make(freedom):
        if freedom.step or freedom.batch:
            raise RuntimeError(f"no {freedom}")
        return freedom

    made, freedom, why = freest(student(), make, 3, (64, 96))
    assert made is freedom
    assert str(freedom) == "one image of 64 x 96"
    assert why == "no any number of images of any size"


def test_a_graph_that_cannot_be_made():
    def make(freedom):
        raise RuntimeError("no graph")

    with pytest.raises(ExportError, match="cannot be exported: no graph"):
        freest(student(), make, 3, (64, 96))


def test_a_size_that_the_student_does_not_take():
    picky = student(lambda b, c, h, w: h % 32 == 0)
    with pytest.raises(ExportError, match=r"images of 60 x 64 \(not .*\(--size\).*multiples"):
        freest(picky, str, 3, (60, 64))


def test_the_step_is_what_the_sides_have_in_common():
    assert [freedom.step for freedom in ladder(3, (48, 80))] == [1, 16, 0, 0]
    assert [freedom.step for freedom in ladder(3, (33, 80))] == [1, 0, 0]


def test_shapes_differ_in_what_is_open():
    open_, wide, fixed, one = ladder(1, (32, 64))
    assert open_.shapes() == [(1, 1, 32, 64), (3, 1, 45, 71)]
    assert wide.shapes() == [(1, 1, 32, 64), (3, 1, 64, 128)]
    assert fixed.shapes() == [(1, 1, 32, 64), (3, 1, 32, 64)]
    assert one.shapes() == [(1, 1, 32, 64)]
    assert [freedom.example[0] for freedom in (open_, wide, fixed, one)] == [2, 2, 2, 1]
    assert open_.axes() == wide.axes() == ["batch", 1, "height", "width"]
    assert fixed.axes() == ["batch", 1, 32, 64]
    assert Freedom(1, (32, 64), batch=False, step=0).axes() == [1, 1, 32, 64]


def test_the_student_is_left_as_it_is():
    alone = Student(ConvNet(3), norm=ImageNorm(), readout=Classes(), description={})
    before = {name: value.clone() for name, value in alone.state_dict().items()}
    freest(alone, str, 1, (8, 8))
    assert all(torch.equal(value, before[name]) for name, value in alone.state_dict().items())


def test_line_of():
    assert line_of(ValueError("\n\n  first.\nsecond")) == "first"
    assert line_of(KeyError()) == "KeyError"
