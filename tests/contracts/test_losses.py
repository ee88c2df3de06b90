"""What every concrete loss must do. A loss that is not in the table fails the first test."""

import copy
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import anyteacher.losses
from anyteacher.errors import LayoutError
from anyteacher.losses import MSE, Cosine, FeatureLoss, LogSum, SmoothL1

SHAPES = [(3, 4, 2, 5), (1, 3, 4, 1), (1, 3, 1, 1), (6, 3), (2, 1), (1, 1)]


@dataclass
class Row:
    make: Callable[[], FeatureLoss]
    at_equality: float  # the value for two equal features with different rows


TABLE = {
    MSE: Row(MSE, 0.0),
    SmoothL1: Row(lambda: SmoothL1(0.5), 0.0),
    Cosine: Row(Cosine, 0.0),
    LogSum: Row(lambda: LogSum(2.0, 1e-3), -13.815510557964274),  # 2 log(0.001)
}


def concrete_losses():
    for module in pkgutil.walk_packages(anyteacher.losses.__path__, "anyteacher.losses."):
        importlib.import_module(module.name)
    found, waiting = set(), [FeatureLoss]
    while waiting:
        children = waiting.pop().__subclasses__()
        waiting += children
        found.update(c for c in children if c.__module__.startswith("anyteacher."))
    return {cls for cls in found if not inspect.isabstract(cls)}


def test_every_loss_is_in_the_table_and_public():
    assert concrete_losses() == set(TABLE)
    for cls in TABLE:
        assert getattr(anyteacher.losses, cls.__name__) is cls
        assert cls.__name__ in anyteacher.losses.__all__
        assert not cls.__subclasses__()  # final


@pytest.fixture(params=TABLE, ids=lambda cls: cls.__name__)
def row(request):
    return TABLE[request.param]


def pair(shape, dtype=torch.float64):
    student = torch.randn(shape, dtype=torch.float64).to(dtype).requires_grad_()
    return student, torch.randn(shape, dtype=torch.float64).to(dtype).requires_grad_()


def finite(loss, *tensors):
    value = loss(*tensors)
    assert value.ndim == 0
    assert value.isfinite()
    value.backward()
    for tensor in tensors:
        assert tensor.grad.isfinite().all()
    return value.detach()


@pytest.mark.parametrize("shape", SHAPES)
def test_it_gives_one_finite_number_and_gradients_to_both_sides(row, shape):
    value = finite(row.make(), *pair(shape))
    assert value.dtype == torch.float64


@pytest.mark.parametrize("shape", [(2, 3, 2, 3), (4, 3)])
def test_its_gradient_is_right(row, shape):
    assert torch.autograd.gradcheck(row.make(), pair(shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_features(row, shape):
    feature = torch.randn(shape, dtype=torch.float64)
    value = finite(row.make(), feature.clone().requires_grad_(), feature.clone().requires_grad_())
    assert value == pytest.approx(row.at_equality, abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("constants", [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (2.0, 2.0)])
def test_zeros_and_constants_stay_finite(row, shape, constants):
    finite(row.make(), *(torch.full(shape, c, requires_grad=True) for c in constants))


@pytest.mark.parametrize("size", [1e-4, 300.0])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_single(row, dtype, size):
    student, teacher = (
        (size * x).detach().requires_grad_() for x in pair((4, 8, 5, 6), dtype=dtype)
    )
    value = finite(row.make(), student, teacher)
    assert value.dtype == torch.float32
    expected = row.make()(student.double(), teacher.double())
    torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-6)


def test_autocast_makes_no_difference_to_the_precision(row):
    student, teacher = pair((4, 8, 5, 6), dtype=torch.float32)
    expected = row.make()(student, teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = row.make()(student, teacher)
        mixed = row.make()(student.bfloat16(), teacher)
    torch.testing.assert_close(value, expected)
    assert mixed.dtype == torch.float32


def test_memory_format_makes_no_difference(row):
    student, teacher = pair((2, 3, 4, 5))
    other = teacher.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(row.make()(student, other), row.make()(student, teacher))


def test_its_inputs_are_left_as_they_were(row):
    student, teacher = pair((2, 3, 4, 5))
    before = student.detach().clone(), teacher.detach().clone()
    row.make()(student, teacher).backward()
    assert torch.equal(student, before[0])
    assert torch.equal(teacher, before[1])


def test_copies_and_pickles_give_the_same(row):
    loss, (student, teacher) = row.make(), pair((2, 3, 4, 5))
    expected = loss(student, teacher)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert other(student, teacher) == expected


def test_a_wrapper_does_not_disturb_it(row):
    """Its parameters and buffers, if any, are found and move with `.double()`."""
    loss = nn.ModuleDict({"loss": row.make()}).double()
    assert loss["loss"](*pair((4, 3))).dtype == torch.float64


@pytest.mark.parametrize("other", [(2, 3, 5, 4), (2, 4, 4, 5), (1, 3, 4, 5), (2, 3)])
def test_features_of_two_shapes_are_refused(row, other, unchecked):
    with pytest.raises(LayoutError, match=r"one shape, got \(2, 3, 4, 5\) from the student and"):
        row.make()(torch.zeros(2, 3, 4, 5), torch.zeros(other))


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4, 5), (2, 3, 0, 5)])
def test_features_without_rows_are_refused(row, shape):
    with pytest.raises(LayoutError, match="no rows to compare"):
        row.make()(torch.zeros(shape), torch.zeros(shape))
