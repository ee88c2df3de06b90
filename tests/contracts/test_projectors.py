"""What every concrete projector must do. A projector that is not in the table fails the first."""

import copy
import inspect
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import anyteacher as at
import anyteacher.projectors
from anyteacher.errors import ConfigError
from anyteacher.projectors import (
    ABF,
    MLP,
    ClosedForm,
    Ensemble,
    Identity,
    LevelProjector,
    Linear,
    LowRank,
    Orthogonal,
    Projector,
)


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
    ClosedForm: Row(lambda: ClosedForm(bias=True), learns=False),
}
LEVEL_TABLE: dict[type[LevelProjector], Callable[[], LevelProjector]] = {ABF: lambda: ABF(3)}
CASES = [(cls, widths) for cls, row in TABLE.items() for widths in row.widths]


@pytest.mark.parametrize(("base", "table"), [(Projector, TABLE), (LevelProjector, LEVEL_TABLE)])
def test_every_projector_is_in_its_table_and_public(base, table):
    found, waiting = set(), [base]
    while waiting:
        children = waiting.pop().__subclasses__()
        waiting += children
        found.update(c for c in children if c.__module__.startswith("anyteacher.projectors"))
    assert {cls for cls in found if not inspect.isabstract(cls)} == set(table)
    assert not any(cls.__subclasses__() for cls in table)  # final
    assert {cls.__name__ for cls in table} <= set(anyteacher.projectors.__all__)


def built(cls, before, after):
    """A projector in single precision; one that is fitted has been."""
    projector = TABLE[cls].make()
    projector.build(before, after)
    if projector.fitted:
        projector(torch.randn(3 * before, before), torch.randn(3 * before, after))
    return projector


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].__name__}-{case[1][0]}-{case[1][1]}")
def case(request):
    cls, widths = request.param
    return built(cls, *widths).double(), *widths


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
    other = built(type(projector), before, after).double()
    other.load_state_dict(projector.state_dict())
    torch.testing.assert_close(other(x), expected, atol=1e-12, rtol=0)


def test_it_is_the_same_for_the_same_seed(case):
    _, before, after = case
    x, outputs = torch.randn(3, before), []
    for _ in range(2):
        torch.manual_seed(3)
        projector = built(type(case[0]), before, after)
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
    if direction not in cls.directions:
        with pytest.raises(ConfigError, match=f"with 'inverted' or 'none': {cls.because}"):
            link.check_direction()
        return
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


class TestLevels:
    """Projectors of several levels at once."""

    every = pytest.mark.parametrize("cls", LEVEL_TABLE, ids=lambda cls: cls.__name__)
    grids = pytest.mark.parametrize(
        "grids",
        [[(4, 6), (2, 3)], [(5, 3), (3, 2), (1, 2)], [(3, 4)], [(2, 2), ()], [(2, 3), (4, 4)]],
    )

    @staticmethod
    def made(kind, grids, seed=1):
        """A projector, features of every level and the widths they get."""
        torch.manual_seed(seed)
        projector = LEVEL_TABLE[kind]()
        befores, afters = [4, 2, 5][: len(grids)], [3, 6, 1][: len(grids)]
        projector.build(befores, afters)
        levels = [
            torch.randn(3, width, *grid, dtype=torch.float64, requires_grad=True)
            for width, grid in zip(befores, grids, strict=True)
        ]
        return projector.double(), levels, afters

    @every
    @grids
    def test_each_level_keeps_its_grid_and_gets_its_width(self, cls, grids):
        projector, levels, afters = self.made(cls, grids)
        for training in (True, False):
            shapes = [tuple(y.shape) for y in projector.train(training)(levels)]
            assert shapes == [(3, after, *grid) for after, grid in zip(afters, grids, strict=True)]
        last = [
            x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for x in levels
        ]
        for mine, expected in zip(projector(last), projector(levels), strict=True):
            torch.testing.assert_close(mine, expected, atol=1e-12, rtol=1e-12)

    @every
    @grids
    @pytest.mark.parametrize("training", [False, True])
    def test_its_gradient_is_right_and_reaches_all_that_learns(self, cls, grids, training):
        projector, levels, _ = self.made(cls, grids)
        projector.train(training)
        assert torch.autograd.gradcheck(lambda *x: tuple(projector(x)), levels)
        torch.stack([y.square().sum() for y in projector(levels)]).sum().backward()
        for parameter in projector.parameters():
            assert parameter.grad.isfinite().all()

    @every
    @grids
    def test_it_copies_and_its_state_comes_back(self, cls, grids):
        projector, levels, _ = self.made(cls, grids)
        projector(levels)  # what it gathers in training is part of its state
        other, _, _ = self.made(cls, grids, seed=2)
        other.load_state_dict(projector.state_dict())
        expected = projector.eval()(levels)
        before = copy.deepcopy(projector.state_dict())
        again = copy.deepcopy(projector), pickle.loads(pickle.dumps(projector)), other.eval()
        for copied in again:
            assert all(map(torch.equal, copied(levels), expected))
        assert all(torch.equal(x, before[name]) for name, x in projector.state_dict().items())

    @every
    def test_it_is_the_same_for_the_same_seed(self, cls):
        (first, levels, _), (second, _, _) = (self.made(cls, [(4, 6), (2, 3)]) for _ in "ab")
        assert all(map(torch.equal, first(levels), second(levels)))

    @every
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision(self, cls, dtype):
        projector, levels, _ = self.made(cls, [(4, 6), (2, 3)])
        expected = projector(levels)
        projector.float()
        with torch.autocast("cpu", dtype=dtype):
            mixed = projector([levels[0].to(dtype), levels[1].float()])
        for mine, exact in zip(mixed, expected, strict=True):
            assert mine.dtype == dtype
            torch.testing.assert_close(mine.double(), exact, atol=0.1, rtol=0.1)

    @every
    @pytest.mark.parametrize("direction", ["inverted", "traditional"])
    @pytest.mark.parametrize("count", [1, 2])
    @pytest.mark.parametrize("compare", ["positions", "pooled"])
    def test_in_a_link_only_student_and_projector_learn(self, cls, direction, count, compare):
        student = nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 5, 2, 2))
        teacher = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.Conv2d(6, 7, 1))
        images = torch.rand(3, 3, 8, 12)
        taps = ["0", "1"][-count:]
        link = at.Link(
            taps, taps, projector=LEVEL_TABLE[cls](), direction=direction, compare=compare
        )
        distiller = at.Distiller(student, teacher, [link], example=images)
        distiller(images).total.backward()
        for tap in taps:
            assert student[int(tap)].weight.grad.abs().max() > 0
        assert all(parameter.grad is None for parameter in teacher.parameters())
        learned = list(distiller.connections[0].projector.parameters())
        for parameter in learned:
            assert parameter.grad.isfinite().all()
        assert {id(p) for p in learned} <= {id(p) for p in distiller.trainable_parameters()}
