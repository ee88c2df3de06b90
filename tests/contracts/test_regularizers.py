"""What every regulariser must do. One that is not in the table fails the first test."""

import copy
import inspect
import math
import pickle

import pytest
import torch
from rows.regularizers import TABLE, built, feature

from anyteacher import regularizers
from anyteacher.errors import LayoutError, NonFiniteError
from anyteacher.layout import to_rows
from anyteacher.regularizers import Regularizer

every = pytest.mark.parametrize("name", TABLE)
either_centre = pytest.mark.parametrize("centre", [False, True])


def finite(regularizer, x):
    value = regularizer(x)
    assert value.ndim == 0
    assert value.isfinite()
    value.backward()
    assert x.grad.isfinite().all()
    return value.detach()


def test_every_regularizer_is_in_the_table_and_final():
    found = {
        cls
        for cls in vars(regularizers).values()
        if isinstance(cls, type) and issubclass(cls, Regularizer) and not inspect.isabstract(cls)
    }
    assert found == {type(row.make()) for row in TABLE.values()}
    assert not any(cls.__subclasses__() for cls in found)


@every
@either_centre
@pytest.mark.parametrize("grid", [(), (1,), (8, 9), (40, 1)])
def test_it_gives_what_its_function_gives_for_all_positions(name, centre, grid):
    images = 300 // max(1, math.prod(grid))
    x = feature(name, grid=grid, images=images)
    value = finite(built(name, centre=centre), x)
    rows = to_rows(x).detach()
    assert value.dtype == torch.float64
    assert torch.equal(value, TABLE[name].function(rows, centre=centre))
    last = x.detach().contiguous(memory_format=torch.channels_last) if len(grid) == 2 else x
    torch.testing.assert_close(built(name, centre=centre)(last), value, atol=1e-12, rtol=1e-12)


@every
@either_centre
def test_it_gets_smaller_along_its_gradient(name, centre):
    x = feature(name)
    regularizer = built(name, centre=centre)
    before = finite(regularizer, x)
    if "scheduled" in name:  # nothing is beyond the whole width
        assert float(before) == 0
        return
    step = 1e-3 * float(before) / float(x.grad.square().sum())
    after = regularizer((x - step * x.grad).detach())
    assert float(after) == pytest.approx(0.999 * float(before), rel=1e-4)


@every
@either_centre
@pytest.mark.parametrize("constant", [0.0, 1.0, -3.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zeros_and_constants_stay_finite(name, centre, constant, dtype):
    x = torch.full((3, TABLE[name].width, 20, 30), constant, dtype=dtype, requires_grad=True)
    value = finite(built(name, centre=centre), x)
    assert x.grad.abs().max() < 100
    if constant == 0 or centre:
        assert float(value) == TABLE[name].of_zeros
        assert x.grad.abs().max() < 1e-8 or "LogDet" in name


@every
@either_centre
def test_the_fewest_rows_are_enough_and_one_less_is_not(name, centre):
    row = TABLE[name]
    least = row.fewest + centre
    finite(built(name, centre=centre), feature(name, grid=(), images=least))
    for images, grid in ((least - 1, ()), (1, (least - 1,))):
        x = feature(name, grid=grid, images=images)
        with pytest.raises(LayoutError, match=rf"needs at least {least} rows .* got {least - 1} "):
            built(name, centre=centre)(x)


@every
@pytest.mark.parametrize("size", [1e-3, 300.0])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_single(name, dtype, size):
    x = (size * feature(name)).detach().to(dtype).requires_grad_()
    value = built(name)(x)
    (value * 1e3).backward()
    assert value.dtype == torch.float32
    assert x.grad.isfinite().all()
    exact = built(name)(x.detach().double())
    torch.testing.assert_close(value.double(), exact, rtol=1e-3, atol=1e-6)


@every
def test_autocast_makes_no_difference_to_the_precision(name):
    x = feature(name, torch.float32)
    expected = built(name)(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = built(name)(x)
        assert built(name)(x.bfloat16()).dtype == torch.float32
    torch.testing.assert_close(result, expected)


@every
def test_features_that_are_not_finite_are_refused_and_leave_no_trace(name):
    regularizer, x = built(name), feature(name)
    regularizer(x)
    before = copy.deepcopy(regularizer.state_dict())
    for bad in (math.inf, math.nan):
        wrong = x.detach().clone()
        wrong[1, 2] = bad
        with pytest.raises(NonFiniteError, match=rf"{type(regularizer).__name__} is nan: .*\(4, "):
            regularizer(wrong)
    for key, value in regularizer.state_dict().items():
        assert torch.equal(value, before[key])


@every
def test_another_width_is_refused(name):
    width = TABLE[name].width
    with pytest.raises(LayoutError, match=rf"built for {width} channels .* shape \(4, {width - 1}"):
        built(name)(feature(name)[:, 1:])


@every
def test_its_input_and_in_eval_mode_its_state_stay(name):
    x = feature(name)
    regularizer = built(name)
    kept = x.detach().clone()
    regularizer(x).backward()
    assert torch.equal(x.detach(), kept)
    regularizer.eval()
    before = copy.deepcopy(regularizer.state_dict())
    first = regularizer(2 * x.detach() + 1)
    assert torch.equal(regularizer(2 * x.detach() + 1), first)
    regularizer.train()
    with torch.no_grad():
        regularizer(2 * x + 1)  # a look, and no step
    for key, value in regularizer.state_dict().items():
        assert torch.equal(value, before[key])


@every
def test_copies_pickles_and_states_go_on_alike(name):
    batches = [(feature(name) * scale).detach().requires_grad_() for scale in (1, 2, 0.5)]
    regularizer = built(name).double()
    regularizer(batches[0])
    other = built(name).double()
    other.load_state_dict(regularizer.state_dict())
    copies = [copy.deepcopy(regularizer), pickle.loads(pickle.dumps(regularizer)), other]
    for batch in batches:
        expected = regularizer(batch)
        assert all(torch.equal(again(batch), expected) for again in copies)
    for again in copies:
        state = again.state_dict()
        for key, value in regularizer.state_dict().items():
            assert torch.equal(value, state[key])


def test_each_compiles_to_the_same(program):
    """Traced as one graph with its backward, where the run-time checks are off."""
    assert program("regularizers_compiled.py").splitlines() == list(TABLE)
