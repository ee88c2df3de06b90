"""What every concrete projector must do. A projector that is not in the table fails the first."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import anyteacher as at
import anyteacher.projectors
from anyteacher.projectors import MLP, Ensemble, Identity, Linear, LowRank, Orthogonal, Projector


@dataclass
class Row:
    make: Callable[[], Projector]
    widths: tuple[tuple[int, int], ...] = ((4, 7), (7, 4), (5, 5), (1, 3), (3, 1))
    learns: bool = True


TABLE = {
    Linear: Row(lambda: Linear(bias=True)),
    MLP: Row(lambda: MLP(hidden=6)),
    Orthogonal: Row(Orthogonal),
    LowRank: Row(lambda: LowRank(1)),
    Ensemble: Row(lambda: Ensemble(2)),
    Identity: Row(Identity, ((4, 4), (1, 1)), learns=False),
}
CASES = [(cls, widths) for cls, row in TABLE.items() for widths in row.widths]


def test_every_projector_is_in_the_table():
    found, waiting = set(), [Projector]
    while waiting:
        children = waiting.pop().__subclasses__()
        waiting += children
        found.update(c for c in children if c.__module__.startswith("anyteacher.projectors"))
    assert {cls for cls in found if not inspect.isabstract(cls)} == set(TABLE)
    assert not any(cls.__subclasses__() for cls in TABLE)  # final


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].__name__}-{case[1][0]}-{case[1][1]}")
def case(request):
    cls, widths = request.param
    projector = TABLE[cls].make()
    projector.build(*widths)
    return projector.double(), *widths


def test_maps_and_vectors_are_projected_place_by_place(case):
    projector, before, after = case
    for grid in ((), (3, 5), (1, 1), (1, 4)):
        x = torch.randn(2, before, *grid, dtype=torch.float64)
        y = projector(x)
        assert y.shape == (2, after, *grid)
        if grid:
            rows = projector(at.layout.to_rows(x))
            torch.testing.assert_close(at.layout.to_rows(y), rows, atol=1e-12, rtol=0)
            last = projector(x.contiguous(memory_format=torch.channels_last))
            torch.testing.assert_close(last, y, atol=1e-12, rtol=0)


def test_its_gradient_is_right(case):
    projector, before, _ = case
    x = torch.randn(2, before, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(projector, x)
    if any(True for _ in projector.parameters()):
        projector(x).square().sum().backward()
        for parameter in projector.parameters():
            assert parameter.grad.isfinite().all()
            assert parameter.grad.abs().max() > 0 or isinstance(projector, MLP | Ensemble)


def test_it_copies_and_its_state_comes_back(case):
    projector, before, after = case
    x = torch.randn(3, before, dtype=torch.float64)
    expected = projector(x)
    assert torch.equal(copy.deepcopy(projector)(x), expected)
    torch.manual_seed(1)
    other = TABLE[type(projector)].make()
    other.build(before, after)
    other.double()
    other.load_state_dict(projector.state_dict())
    torch.testing.assert_close(other(x), expected, atol=1e-12, rtol=0)


def test_it_is_the_same_for_the_same_seed(case):
    _, before, after = case
    x, outputs = torch.randn(3, before), []
    for _ in range(2):
        torch.manual_seed(3)
        projector = TABLE[type(case[0])].make()
        projector.build(before, after)
        outputs.append(projector(x))
    assert torch.equal(*outputs)
    assert (projector.in_features, projector.out_features) == (before, after)


@pytest.mark.parametrize("direction", ["inverted", "traditional"])
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("cls", TABLE, ids=lambda cls: cls.__name__)
def test_in_a_link_only_student_and_projector_learn(cls, direction, tokens):
    width = 4 if cls is Identity else 6
    student = nn.Conv2d(3, 4, 4, 4)
    embed = nn.Conv2d(3, width, 4, 4)
    teacher = nn.Sequential(embed, nn.Flatten(2), Transpose()) if tokens else nn.Sequential(embed)
    taps = ("", "2" if tokens else "0")
    link = at.Link(*taps, projector=TABLE[cls].make(), direction=direction)
    images = torch.rand(3, 3, 8, 12)
    distiller = at.Distiller(student, teacher, [link], example=images)
    output = distiller(images)
    output.total.backward()
    assert student.weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())
    projector = distiller.connections[0].projector
    assert TABLE[cls].learns == any(True for _ in projector.parameters())
    for parameter in projector.parameters():
        assert parameter.grad.isfinite().all()
    assert {id(p) for p in projector.parameters()} <= {
        id(p) for p in distiller.trainable_parameters()
    }


class Transpose(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)
