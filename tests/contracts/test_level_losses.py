"""What every loss of all levels at once must do. One that is not in the table fails the first."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rows.base import gradient_sizes, with_zeros
from rows.levels import LEVEL_TABLE, LEVELS, sides
from torch import nn

import anyteacher as at
import anyteacher.losses
from anyteacher.errors import ConfigError, LayoutError
from anyteacher.hints import known_classes
from anyteacher.losses import LevelLoss
from anyteacher.projectors import ABF, MLP

PROGRAM = Path(__file__).parents[1] / "programs" / "level_losses.py"
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_every_loss_of_levels_is_in_the_table_and_public():
    assert set(known_classes(LevelLoss)) == set(LEVEL_TABLE)
    for cls in LEVEL_TABLE:
        assert getattr(anyteacher.losses, cls.__name__) is cls
        assert cls.__name__ in anyteacher.losses.__all__
        assert not cls.__subclasses__()  # final
        restricted = cls.form != "any" or len(cls.directions) < 3
        assert bool(cls.because) == restricted


every_loss = pytest.mark.parametrize("cls", LEVEL_TABLE, ids=lambda cls: cls.__name__)
every_shape = pytest.mark.parametrize(
    "shapes", LEVELS, ids=lambda shapes: "-".join("x".join(map(str, shape)) for shape in shapes)
)


def finite(loss, student, teacher):
    result = loss(student, teacher)
    assert result.ndim == 0
    assert result.isfinite()
    result.backward()
    for x in student:
        assert x.grad.isfinite().all()
    for x in teacher:
        assert x.grad is None or x.grad.isfinite().all()
    return result.detach()


@every_loss
@every_shape
def test_it_gives_one_finite_number_that_of_its_function(cls, shapes):
    row, (student, teacher) = LEVEL_TABLE[cls], sides(shapes)
    result = finite(row.make(), student, teacher)
    assert result.dtype == torch.float64
    assert result > 0
    assert torch.equal(result, row.function(student, teacher))


@every_loss
@every_shape
def test_its_gradient_is_right(cls, shapes):
    loss, (student, teacher) = LEVEL_TABLE[cls].make(), sides(shapes)
    count = len(shapes)
    assert torch.autograd.gradcheck(lambda *x: loss(x[:count], x[count:]), (*student, *teacher))


@every_loss
@every_shape
def test_equal_features(cls, shapes):
    row, (student, _) = LEVEL_TABLE[cls], sides(shapes)
    result = finite(row.make(), student, [x.detach().clone() for x in student])
    assert float(result) == pytest.approx(row.at_equality, abs=1e-9)


@every_loss
@every_shape
@pytest.mark.parametrize("constants", [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (2.0, 2.0)])
def test_zeros_and_constants_stay_finite(cls, shapes, constants):
    student, teacher = (
        [torch.full(shape, constant, requires_grad=True) for shape in shapes]
        for constant in constants
    )
    finite(LEVEL_TABLE[cls].make(), student, teacher)


@every_loss
@pytest.mark.parametrize("what", ["channel", "position", "image"])
def test_the_gradient_of_what_is_zero_is_of_the_size_of_others(cls, what):
    loss, usual = LEVEL_TABLE[cls].make(), sides(((4, 5, 4, 6), (4, 6, 2, 3)), torch.float32)
    loss(*usual).backward()
    for which in [(0,), (1,), (0, 1)]:
        both = [
            [with_zeros(x, what) if side in which else x.detach().requires_grad_() for x in levels]
            for side, levels in enumerate(usual)
        ]
        loss(*both).backward()
        for levels, others in zip(both, usual, strict=True):
            for x, other in zip(levels, others, strict=True):
                assert gradient_sizes(x).max() < 1e3 * gradient_sizes(other).median()


@every_loss
@pytest.mark.parametrize("size", [1e-4, 30.0])  # the gradient has to fit half precision too
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_single(cls, dtype, size):
    loss, both = LEVEL_TABLE[cls].make(), sides(LEVELS[0])
    student, teacher = (
        [(size * x).detach().to(dtype).requires_grad_() for x in side] for side in both
    )
    result = finite(loss, student, teacher)
    assert result.dtype == torch.float32
    exact = loss([x.double() for x in student], [x.double() for x in teacher]).detach()
    torch.testing.assert_close(result.double(), exact, rtol=1e-3, atol=0)


@every_loss
def test_autocast_makes_no_difference_to_the_precision(cls):
    loss, (student, teacher) = LEVEL_TABLE[cls].make(), sides(LEVELS[0], torch.float32)
    expected = loss(student, teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = loss(student, teacher)
        mixed = loss([student[0].bfloat16(), *student[1:]], teacher)
    torch.testing.assert_close(result, expected)
    assert mixed.dtype == torch.float32


@every_loss
def test_memory_format_makes_no_difference(cls):
    loss, (student, teacher) = LEVEL_TABLE[cls].make(), sides(LEVELS[0])
    last = [x.contiguous(memory_format=torch.channels_last) for x in teacher]
    torch.testing.assert_close(loss(student, last), loss(student, teacher))


@every_loss
def test_its_inputs_and_state_are_left_as_they_were(cls):
    loss, both = LEVEL_TABLE[cls].make().eval(), sides(LEVELS[0])
    before = [[x.detach().clone() for x in side] for side in both]
    state = copy.deepcopy(loss.state_dict())
    loss(*both).backward()
    for side, old in zip(both, before, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(side, old, strict=True))
    assert state.keys() == loss.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in loss.state_dict().items())


@every_loss
def test_copies_and_pickles_give_the_same(cls):
    loss, both = LEVEL_TABLE[cls].make(), sides(LEVELS[0])
    for again in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(again(*both), loss(*both))


@every_loss
def test_features_that_do_not_fit_are_refused(cls, unchecked):
    loss, shapes = LEVEL_TABLE[cls].make(), LEVELS[0]
    _, (*_, last) = student, teacher = sides(shapes)
    wrong = [[teacher[0], last[:2]], [teacher[0][:2], last]]
    if cls.equal_widths:
        wrong.append([teacher[0], last[:, :1]])
    if cls.equal_grids:
        wrong.append([teacher[0], last[..., :1]])
    if cls.form == "positions":
        wrong.append([teacher[0], last.mean((2, 3))])
    for other in wrong:
        with pytest.raises(LayoutError, match="compares features of"):
            loss(student, other)
    empty = [[x[:0] for x in side] for side in (student, teacher)]
    with pytest.raises(LayoutError, match="no rows to compare"):
        loss(*empty)
    with pytest.raises(LayoutError, match=r"got 2 and 1"):
        loss(student, teacher[:1])
    if cls.fewest > 1:
        with pytest.raises(LayoutError, match=r"got 1 and 1"):
            loss(student[:1], teacher[:1])


class Model(nn.Module):
    """Gives features of two levels, of any kind."""

    def __init__(self, widths, strides, kind):
        super().__init__()
        inputs = [3, widths[0]]
        self.stages = nn.ModuleList(
            nn.Conv2d(before, after, stride, stride)
            for before, after, stride in zip(inputs, widths, strides, strict=True)
        )
        self.taps = nn.ModuleList(nn.Identity() for _ in widths)
        self.kind = kind

    def forward(self, images):
        x = images
        for stage, tap in zip(self.stages, self.taps, strict=True):
            x = stage(x)
            given = x
            if self.kind == "tokens":
                given = torch.cat([x.mean((2, 3))[:, :, None], x.flatten(2)], 2).transpose(1, 2)
            elif self.kind == "vector":
                given = x.mean((2, 3))
            tap(given)
        return x


TAPS = ["taps.0", "taps.1"]


@every_loss
@pytest.mark.parametrize("projector", [MLP, ABF])
@pytest.mark.parametrize("direction", at.losses.DIRECTIONS)
@pytest.mark.parametrize("kind", ["map", "tokens", "vector"])
def test_in_a_link_of_unequal_levels(cls, kind, direction, projector):
    """Both directions, on every kind of feature, with other widths and grids; or a refusal."""
    student, teacher = Model((4, 6), (4, 2), kind), Model((5, 9), (2, 2), kind)
    images = torch.rand(4, 3, 16, 24)
    loss = LEVEL_TABLE[cls].make()
    link = at.Link(TAPS, TAPS, loss=loss, direction=direction, projector=projector(), name="mine")
    refused = direction not in cls.directions
    no_positions = cls.form == "positions" and kind == "vector"
    unequal = direction == "none" and cls.equal_widths
    if refused or no_positions or unequal:
        with pytest.raises((ConfigError, LayoutError), match=r"^Link 'mine': ") as raised:
            at.Distiller(student, teacher, [link], example=images)
        assert cls.__name__ in str(raised.value) or (unequal and "same width" in str(raised.value))
        return
    distiller = at.Distiller(student, teacher, [link], example=images)
    total = distiller(images).total
    total.backward()
    assert total.isfinite()
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    for stage in student.stages:
        assert stage.weight.grad.isfinite().all()
        assert stage.weight.grad.abs().max() > 0
    (connection,) = distiller.connections
    learned = list(connection.projector.parameters())
    assert bool(learned) == (direction != "none")
    for parameter in [*learned, *connection.losses.parameters()]:
        assert parameter.grad.isfinite().all()  # and DDP waits for none in vain


@every_loss
def test_in_a_link_of_equal_widths_without_a_projector(cls):
    if "none" not in cls.directions:
        return
    student, teacher = Model((4, 6), (4, 2), "map"), Model((4, 6), (2, 2), "map")
    images = torch.rand(4, 3, 16, 24)
    link = at.Link(TAPS, TAPS, loss=LEVEL_TABLE[cls].make(), direction="none")
    distiller = at.Distiller(student, teacher, [link], example=images)
    features = []
    for model in (student, teacher):
        first = model.stages[0](images)
        features.append([first, model.stages[1](first)])
    if not cls.equal_grids:
        expected = LEVEL_TABLE[cls].function(*features)
        torch.testing.assert_close(distiller(images).total, expected)


@every_loss
def test_a_link_with_too_few_levels_is_refused(cls):
    loss = LEVEL_TABLE[cls].make()
    if cls.fewest == 1:
        at.Link("a", "b", loss=loss)
        return
    for taps in (("a", "b"), (["a"], ["b"])):
        with pytest.raises(ConfigError, match=rf"{cls.__name__} .* needs {cls.fewest} or more"):
            at.Link(*taps, loss=loss)


def test_each_compiles_to_the_same(program):
    """Traced as one graph with its backward, where the run-time checks are off."""
    assert program(PROGRAM.name, "compiled").split() == [cls.__name__ for cls in LEVEL_TABLE]


@pytest.mark.skipif(sys.platform == "win32", reason="gloo's files need a POSIX system")
def test_two_processes_give_the_gradients_of_one(tmp_path):
    ranks = [
        subprocess.Popen(
            [sys.executable, PROGRAM, str(rank), tmp_path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ALONE,
        )
        for rank in range(2)
    ]
    outputs = [rank.communicate(timeout=240) for rank in ranks]
    for rank, (_, errors) in zip(ranks, outputs, strict=True):
        assert rank.returncode == 0, errors[-3000:]
    assert outputs[0][0].split() == [cls.__name__ for cls in LEVEL_TABLE]
