"""What every concrete loss must do. A loss that is not in the table fails the first test."""

import copy
import importlib
import inspect
import os
import pickle
import pkgutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from rows.base import (
    CLASSES,
    built,
    gradient_sizes,
    largest,
    pair,
    shapes_of,
    told,
    value,
    with_zeros,
)
from rows.table import TABLE
from torch import nn

import anyteacher as at
import anyteacher.losses
from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses import BatchLoss, LevelLoss, Loss
from anyteacher.losses.base import Direction

ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}


def concrete_losses():
    for module in pkgutil.walk_packages(anyteacher.losses.__path__, "anyteacher.losses."):
        importlib.import_module(module.name)
    found, waiting = set(), [Loss]
    while waiting:
        children = waiting.pop().__subclasses__()
        waiting += children
        found.update(c for c in children if c.__module__.startswith("anyteacher."))
    return {cls for cls in found if not inspect.isabstract(cls)}


def test_every_loss_is_in_the_table_and_public():
    of_levels = {cls for cls in concrete_losses() if issubclass(cls, LevelLoss)}
    assert concrete_losses() - of_levels == set(TABLE)  # those have a table of their own
    for cls in TABLE:
        assert getattr(anyteacher.losses, cls.__name__) is cls
        assert cls.__name__ in anyteacher.losses.__all__
        assert not cls.__subclasses__()  # final
        restricted = cls.form != "any" or len(cls.directions) < 3
        assert bool(cls.because) == restricted


def cases():
    pairs = [(cls, shape) for cls in TABLE for shape in shapes_of(cls, TABLE[cls])]
    names = [f"{cls.__name__}-{'x'.join(map(str, shape))}" for cls, shape in pairs]
    return pytest.mark.parametrize(("cls", "shape"), pairs, ids=names)


every_loss = pytest.mark.parametrize("cls", TABLE, ids=lambda cls: cls.__name__)


def finite(loss, *tensors):
    result = value(loss, *tensors)
    assert result.ndim == 0
    assert result.isfinite()
    result.backward()
    for tensor in tensors:
        assert tensor.grad is None or tensor.grad.isfinite().all()
    for parameter in loss.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()
    assert tensors[0].grad is not None
    return result.detach()


@cases()
def test_it_gives_one_finite_number(cls, shape):
    assert finite(built(TABLE[cls], shape[1]), *pair(shape)).dtype == torch.float64


@cases()
def test_the_module_gives_what_the_function_gives(cls, shape):
    row = TABLE[cls]
    if row.function is None:
        assert list(built(row, shape[1]).state_dict()) or not row.halves_add_up
        return
    student, teacher = pair(shape)
    loss = built(row, shape[1])
    expected = row.function(student, teacher, **told(loss, len(student), shape[2:]))
    assert torch.equal(value(loss, student, teacher), expected)


@every_loss
def test_its_gradient_is_right(cls):
    if not TABLE[cls].smooth:
        return
    for shape in [shape for shape in shapes_of(cls, TABLE[cls]) if shape[0] > 1][:2]:
        loss = built(TABLE[cls], shape[1])
        student, teacher = pair(shape)
        value(loss, student, teacher)  # what a first batch decides is decided
        loss.eval()
        assert torch.autograd.gradcheck(lambda x, loss=loss, t=teacher: value(loss, x, t), student)
        if "inverted" in cls.directions:
            assert torch.autograd.gradcheck(
                lambda x, loss=loss, s=student: value(loss, s, x), teacher
            )


@cases()
def test_equal_features(cls, shape):
    expected = TABLE[cls].at_equality
    feature = pair(shape)[0].detach()
    result = finite(built(TABLE[cls], shape[1]), *(feature.clone().requires_grad_() for _ in "ab"))
    if expected is not None:
        assert float(result) == pytest.approx(expected, abs=1e-9)


@cases()
@pytest.mark.parametrize("constants", [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (2.0, 2.0)])
def test_zeros_and_constants_stay_finite(cls, shape, constants):
    loss = built(TABLE[cls], shape[1]).float()
    finite(loss, *(torch.full(shape, c, requires_grad=True) for c in constants))


@every_loss
@pytest.mark.parametrize("what", ["channel", "position", "image"])
def test_the_gradient_of_what_is_zero_is_of_the_size_of_others(cls, what):
    """Finite is not enough: divided by a tiny eps, it would drown all others."""
    for shape in [(4, CLASSES, 3, 4), (4, CLASSES)]:
        if (cls.form, len(shape)) in [("positions", 2), ("images", 4)]:
            continue
        usual = pair(shape, torch.float32)
        value(built(TABLE[cls], CLASSES).float(), *usual).backward()
        for which in [(0,), (1,), (0, 1)]:
            sides = [
                with_zeros(x, what) if side in which else x.detach().clone().requires_grad_()
                for side, x in enumerate(usual)
            ]
            value(built(TABLE[cls], CLASSES).float(), *sides).backward()
            for x, other in zip(sides, usual, strict=True):
                if other.grad is not None:
                    assert gradient_sizes(x).max() < 1e3 * gradient_sizes(other).median()


@every_loss
@pytest.mark.parametrize("size", [1e-4, 300.0])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_single(cls, dtype, size):
    shape = largest(cls, TABLE[cls])
    student, teacher = ((size * x).detach().to(dtype).requires_grad_() for x in pair(shape))
    loss = built(TABLE[cls], shape[1]).float()
    result = finite(loss, student, teacher)
    assert result.dtype == torch.float32
    exact = value(built(TABLE[cls], shape[1]), student.double(), teacher.double())
    torch.testing.assert_close(result.double(), exact.detach(), rtol=1e-3, atol=1e-5)


@every_loss
def test_autocast_makes_no_difference_to_the_precision(cls):
    shape = largest(cls, TABLE[cls])
    student, teacher = pair(shape, dtype=torch.float32)
    loss = built(TABLE[cls], shape[1]).float().eval()
    expected = value(loss, student, teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = value(loss, student, teacher)
        mixed = value(loss, student.bfloat16(), teacher)
    torch.testing.assert_close(result, expected)
    assert mixed.dtype == torch.float32


@every_loss
def test_memory_format_makes_no_difference(cls):
    shape = largest(cls, TABLE[cls])
    if len(shape) == 2:
        return
    student, teacher = pair(shape)
    other = teacher.contiguous(memory_format=torch.channels_last)
    loss = built(TABLE[cls], shape[1]).eval()
    torch.testing.assert_close(value(loss, student, other), value(loss, student, teacher))


@every_loss
def test_its_inputs_are_left_as_they_were(cls):
    student, teacher = pair(largest(cls, TABLE[cls]))
    before = student.detach().clone(), teacher.detach().clone()
    value(built(TABLE[cls], student.shape[1]), student, teacher).backward()
    assert torch.equal(student, before[0])
    assert torch.equal(teacher, before[1])


@every_loss
def test_in_eval_mode_its_state_stays(cls):
    student, teacher = pair(largest(cls, TABLE[cls]))
    loss = built(TABLE[cls], student.shape[1])
    value(loss, student, teacher)  # what a first batch decides is decided
    loss.eval()
    before = copy.deepcopy(loss.state_dict())
    value(loss, student, teacher)
    for name, tensor in loss.state_dict().items():
        assert torch.equal(tensor, before[name])


@every_loss
def test_copies_pickles_and_states_give_the_same(cls):
    student, teacher = pair(largest(cls, TABLE[cls]))
    loss = built(TABLE[cls], student.shape[1])
    value(loss, student, teacher)
    other = TABLE[cls].make()
    other.build(student.shape[1], student.shape[1])
    other.double().load_state_dict(loss.state_dict())
    loss.eval()
    expected = value(loss, student, teacher)
    for again in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), other.eval()):
        assert torch.equal(value(again, student, teacher), expected)


@every_loss
def test_features_that_do_not_fit_are_refused(cls, unchecked):
    maps = cls.form != "images"
    shape = (2, CLASSES, 4, 5) if maps else (2, CLASSES)
    loss = built(TABLE[cls], shape[1])
    wrong = [(1, *shape[1:])]
    wrong += [(2, CLASSES + 1, *shape[2:])] if cls.equal_widths else []
    wrong += [(2, CLASSES, 5, 4), (2, CLASSES)] if cls.equal_grids and maps else []
    for other in wrong:
        student, teacher = torch.zeros(shape).double(), torch.zeros(other).double()
        with pytest.raises(LayoutError, match=r"compares features of .*, got \(2, 5"):
            loss(student, teacher, **told(loss, 2, shape[2:]))


@every_loss
def test_features_without_rows_are_refused(cls, unchecked):
    empty = {"positions": [(0, 3, 4, 5), (2, 3, 0, 5)], "images": [(0, 3)]}
    for shape in empty.get(cls.form, [(0, 3), (0, 3, 4, 5), (2, 3, 0, 5)]):
        loss, x = built(TABLE[cls], 3), torch.zeros(shape).double()
        with pytest.raises(LayoutError, match="no rows to compare"):
            loss(x, x.clone(), **told(loss, len(x), shape[2:]))


class Model(nn.Module):
    """Gives one feature of any kind."""

    def __init__(self, width, stride, kind):
        super().__init__()
        self.conv, self.kind = nn.Conv2d(3, width, stride, stride), kind
        self.tap = nn.Identity()

    def forward(self, images):
        x = self.conv(images)
        if self.kind == "tokens":
            x = torch.cat([x.mean((2, 3))[:, :, None], x.flatten(2)], 2).transpose(1, 2)
        elif self.kind == "vector":
            x = x.mean((2, 3))
        return self.tap(x)


def link_cases():
    kinds = ("map", "tokens", "vector")
    return [(cls, *rest) for cls in TABLE for rest in product(kinds, at.losses.DIRECTIONS)]


@pytest.mark.parametrize(
    ("cls", "kind", "direction"),
    link_cases(),
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_in_a_link_of_unequal_features(cls, kind, direction: Direction):
    """Both directions, on every kind of feature, with other widths and grids; or a refusal."""
    student, teacher = Model(6, 4, kind), Model(9, 2, "map" if kind == "map" else kind)
    images = torch.rand(4, 3, 8, 12)
    compare = "pooled" if cls.form == "images" else "positions"
    link = at.Link(
        "tap", "tap", loss=TABLE[cls].make(), direction=direction, compare=compare, name="mine"
    )
    refused = direction not in cls.directions
    no_positions = cls.form == "positions" and kind == "vector"
    unequal = direction == "none" and cls.equal_widths
    if refused or no_positions or unequal:
        with pytest.raises((ConfigError, LayoutError), match=r"^Link 'mine': ") as raised:
            at.Distiller(student, teacher, [link], example=images)
        assert cls.__name__ in str(raised.value) or (unequal and "same width" in str(raised.value))
        return
    distiller = at.Distiller(student, teacher, [link], example=images)
    extras = told(link.loss, 4)
    total = distiller(images, **extras).total
    total.backward()
    assert total.isfinite()
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert student.conv.weight.grad.isfinite().all()
    assert student.conv.weight.grad.abs().max() > 0
    (connection,) = distiller.connections
    projector = list(connection.projector.parameters())
    assert bool(projector) == (direction != "none")
    for parameter in projector:
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0
    for parameter in connection.losses.parameters():  # else DDP would wait for its gradient
        assert parameter.grad is not None


def test_each_compiles_to_the_same(program):
    """Traced as one graph with its backward, where the run-time checks are off."""
    printed = program("losses_compiled.py")
    assert printed.split() == [cls.__name__ for cls, row in TABLE.items() if row.compiles]


@pytest.mark.skipif(sys.platform == "win32", reason="gloo's files need a POSIX system")
def test_two_processes_give_the_gradients_of_one(tmp_path):
    program = Path(__file__).parents[1] / "programs" / "losses_parallel.py"
    ranks = [
        subprocess.Popen(
            [sys.executable, program, str(rank), tmp_path],
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
    same = set(outputs[0][0].split())
    assert same == {
        cls.__name__
        for cls, row in TABLE.items()
        if row.halves_add_up or issubclass(cls, BatchLoss)
    }
