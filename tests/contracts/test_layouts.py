"""What a link does with every kind of layout. A kind that is not in the table fails the first."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

import anyteacher as at
from anyteacher.errors import LayoutError
from anyteacher.layout import Kind, Layout

SIZE, STRIDE = (16, 24), 4


@dataclass
class Row:
    form: Callable[[Tensor], Tensor]  # from a map (B, C, H, W)
    has_positions: bool = True


def with_prefix(x: Tensor) -> Tensor:
    front = torch.full((len(x), 5, x.shape[1]), 1e6, dtype=x.dtype)  # it would be noticed
    return torch.cat([front, x.flatten(2).transpose(1, 2)], 1)


TABLE: dict[Kind, Row] = {
    "map": Row(lambda x: x),
    "channels_last": Row(lambda x: x.permute(0, 2, 3, 1)),
    "tokens": Row(with_prefix),
    "vector": Row(lambda x: x.mean((2, 3)), has_positions=False),
}


class Model(nn.Module):
    def __init__(self, width: int, kind: Kind) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, STRIDE, STRIDE, dtype=torch.float64)
        self.form = Form(kind)

    def forward(self, images):
        return self.form(self.conv(images))


class Form(nn.Module):
    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x):
        return TABLE[self.kind].form(x)


def test_every_kind_is_in_the_table():
    assert set(get_args(Kind)) == set(TABLE)


@pytest.mark.parametrize("kind", TABLE)
def test_every_kind_is_found_and_overridden(kind):
    feature = TABLE[kind].form(torch.rand(2, 7, SIZE[0] // STRIDE, SIZE[1] // STRIDE))
    layout = at.layout.detect(feature.shape, SIZE)
    assert layout.kind == kind
    at.layout.check(feature, layout, "it")
    assert at.layout.channels(feature.shape, layout) == 7


@pytest.mark.parametrize(("mine", "theirs"), list(product(TABLE, TABLE)))
@pytest.mark.parametrize("compare", ["positions", "pooled"])
def test_any_two_kinds_are_compared_like_maps(mine, theirs, compare):
    images = torch.rand(2, 3, *SIZE, dtype=torch.float64)
    student, teacher = Model(4, mine), Model(6, theirs)
    link = at.Link("form", "form", compare=compare)
    alike = TABLE[mine].has_positions == TABLE[theirs].has_positions
    if compare == "positions" and not alike:
        with pytest.raises(LayoutError, match=r'no positions in common. Use compare="pooled"'):
            at.Distiller(student, teacher, [link], example=images)
        return
    distiller = at.Distiller(student, teacher, [link], example=images)
    weight = distiller.connections[0].projector.linear.weight
    with torch.no_grad():
        a = student.conv(images)
        b = torch.einsum("bchw,dc->bdhw", teacher.conv(images), weight)
        if compare == "pooled" or not alike or not TABLE[mine].has_positions:
            a, b = a.mean((2, 3)), b.mean((2, 3))
        expected = (a - b).square().mean()
    torch.testing.assert_close(distiller(images).total, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("kind", TABLE)
def test_a_stated_layout_counts(kind):
    """Tokens of which more are left out; a map that would be taken for something else."""
    images = torch.rand(2, 3, *SIZE, dtype=torch.float64)
    stated = {"tokens": Layout("tokens", 5, (4, 6))}.get(kind, Layout(kind))
    links = [
        at.Link("form", "form", name="found", compare="pooled"),
        at.Link("form", "form", name="stated", compare="pooled", student_layout=stated),
    ]
    distiller = at.Distiller(Model(4, kind), Model(6, "map"), links, example=images)
    found, chosen = distiller.connections
    chosen.load_state_dict(found.state_dict())
    losses = distiller(images).losses
    assert losses["found"] == losses["stated"]


@pytest.mark.parametrize("kind", TABLE)
def test_a_layout_of_another_rank_is_refused(kind):
    wrong = "vector" if kind != "vector" else "map"
    link = at.Link("form", "form", student_layout=Layout(wrong), name="mine")
    images = torch.rand(2, 3, *SIZE, dtype=torch.float64)
    with pytest.raises(LayoutError, match=r"Link 'mine': the student's feature has shape"):
        at.Distiller(Model(4, kind), Model(6, "map"), [link], example=images)
