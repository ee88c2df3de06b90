"""Against torch's own singular values, finite differences, and what must not matter."""

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.spectral import (
    effective_rank,
    effective_rank_of,
    log_det,
    nuclear_norm,
    tracked_trailing_energy,
    trailing_energy,
)

SHAPES = [(12, 5), (5, 12), (7, 7), (40, 1), (1, 6), (2, 3)]
every_shape = pytest.mark.parametrize("shape", SHAPES)
either_centre = pytest.mark.parametrize("centre", [False, True])


def features(shape, seed=0, mean=0.3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator) + mean


def sigma(z, centre=False):
    return torch.linalg.svdvals(z - z.mean(0) if centre else z).tolist()


def slow_trailing(z, rank, fraction=False, centre=False):
    squares = [s * s for s in sigma(z, centre)]
    if fraction:
        return sum(squares[rank:]) / sum(squares)
    return sum(squares[rank:]) / z.numel()


def slow_nuclear(z, centre=False):
    return sum(sigma(z, centre)) / (math.sqrt(len(z)) * z.shape[1])


def slow_log_det(z, eps=1e-2, centre=False):
    return sum(math.log(1 + s * s / len(z) / eps) for s in sigma(z, centre)) / z.shape[1]


def slow_effective_rank(z, centre=False):
    squares = [s * s for s in sigma(z, centre)]
    shares = [s / sum(squares) for s in squares if s > 1e-12 * max(squares)]
    return math.exp(-sum(p * math.log(p) for p in shares))


@every_shape
@either_centre
@pytest.mark.parametrize("fraction", [False, True])
def test_trailing_energy_is_that_of_the_singular_values(shape, centre, fraction):
    z = features(shape)
    if centre and len(z) == 1:
        return  # no energy, of which there is no fraction
    for rank in range(1, shape[1] + 1):
        expected = slow_trailing(z, rank, fraction, centre)
        found = trailing_energy(z, rank, fraction=fraction, centre=centre)
        assert float(found) == pytest.approx(expected, abs=1e-10)
        assert float(trailing_energy(z, torch.tensor(rank), fraction=fraction, centre=centre)) == (
            pytest.approx(float(found), abs=1e-14)
        )


@every_shape
@either_centre
@pytest.mark.parametrize(
    ("function", "slow"),
    [
        (nuclear_norm, slow_nuclear),
        (log_det, slow_log_det),
        (effective_rank, slow_effective_rank),
    ],
)
def test_the_others_are_those_of_the_singular_values(shape, centre, function, slow):
    z = features(shape)
    if centre and len(z) == 1:
        return
    assert float(function(z, centre=centre)) == pytest.approx(slow(z, centre=centre), abs=1e-8)


@every_shape
def test_the_analytic_gradient_of_trailing_energy(shape):
    for rank in range(1, min(shape)):
        z = features(shape).requires_grad_()
        trailing_energy(z, rank).backward()
        with torch.no_grad():
            v = torch.linalg.svd(z).Vh[:rank].T
            expected = 2 * (z - z @ v @ v.T) / z.numel()
        torch.testing.assert_close(z.grad, expected, atol=1e-12, rtol=1e-10)


FUNCTIONS = {
    "trailing 1": lambda z, **settings: trailing_energy(z, 1, **settings),
    "trailing 2": lambda z, **settings: trailing_energy(z, 2, **settings),
    "fraction": lambda z, **settings: trailing_energy(z, 2, fraction=True, **settings),
    "energy": lambda z, **settings: trailing_energy(z, energy=0.7, **settings),
    "nuclear": nuclear_norm,
    "log det": log_det,
    "effective rank": effective_rank,
    "tracked": lambda z, **settings: tracked_trailing_energy(z, 2, **settings)[0],
    "tracked fraction": lambda z, **settings: tracked_trailing_energy(
        z, 2, fraction=True, **settings
    )[0],
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)


@every_function
@either_centre
@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (7, 7)])
def test_gradients_are_those_of_finite_differences(name, centre, shape):
    z = features(shape, seed=3).requires_grad_()
    function = FUNCTIONS[name]
    assert torch.autograd.gradcheck(lambda z: function(z, centre=centre), z, atol=1e-6)


DEGENERATE = {
    "zeros": torch.zeros(6, 4),
    "constants": torch.full((6, 4), 3.7),
    "rows alike": torch.randn(4, generator=torch.Generator().manual_seed(0)).expand(6, 4),
    "identity": torch.eye(6, 4),
    "wide identity": torch.eye(4, 6),
    "one row": torch.ones(1, 4),
    "one number": torch.ones(1, 1),
    "rank one": torch.outer(torch.arange(6.0), torch.arange(4.0)),
    "tiny": 1e-30 * torch.eye(6, 4),
    "large": 1e15 * torch.eye(6, 4),
}


@every_function
@either_centre
@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_repeated_and_zero_singular_values_leave_everything_finite(name, centre, case, dtype):
    z = DEGENERATE[case].to(dtype)
    if z.shape[1] < 2 and name not in ("nuclear", "log det", "effective rank", "energy"):
        return
    z = z.clone().requires_grad_()
    value = FUNCTIONS[name](z, centre=centre)
    value.backward()
    assert value.isfinite()
    assert z.grad.isfinite().all()
    if name not in ("nuclear",):  # a norm has a slope at zeros, of any direction
        assert case != "zeros" or not z.grad.any()


@either_centre
def test_what_is_known_of_degenerate_features(centre):
    zeros = torch.zeros(6, 4)
    assert float(trailing_energy(zeros, 1, centre=centre)) == 0
    assert float(trailing_energy(zeros, 1, fraction=True, centre=centre)) == 0
    assert float(effective_rank(zeros, centre=centre)) == 0
    assert float(nuclear_norm(zeros, centre=centre)) == 0
    constants = torch.full((6, 4), 3.7)
    assert float(trailing_energy(constants, 1, fraction=True, centre=centre)) == pytest.approx(
        0, abs=1e-6
    )
    assert float(effective_rank(constants, centre=centre)) == pytest.approx(0 if centre else 1)
    one = torch.eye(6)[:, :3].double()
    assert float(trailing_energy(one, 1)) == pytest.approx(2 / 18, abs=1e-15)
    assert float(effective_rank(one)) == pytest.approx(3, abs=1e-12)
    assert float(effective_rank_of(torch.tensor([0.0, 2.0, 2.0, 0.0]))) == pytest.approx(2)


def test_a_large_mean_hides_nothing_from_what_is_centred():
    z = features((5000, 6))  # more rows than are centred at a time
    for mean in (0.0, 1e5):
        found = trailing_energy(z + mean, 2, centre=True)
        assert float(found) == pytest.approx(slow_trailing(z, 2, centre=True), abs=1e-10)
    shifted = (z + 1e3).float().requires_grad_()
    trailing_energy(shifted, 2, centre=True).backward()
    exact = z.clone().requires_grad_()
    trailing_energy(exact, 2, centre=True).backward()
    torch.testing.assert_close(shifted.grad.double(), exact.grad, atol=1e-6, rtol=1e-2)


@st.composite
def matrices(draw):
    rows, width = draw(st.integers(2, 12)), draw(st.integers(2, 8))
    z = features((rows, width), draw(st.integers(0, 10**6)), draw(st.sampled_from([0.0, 0.5])))
    scales = draw(
        st.lists(st.sampled_from([0.0, 1e-3, 0.1, 1.0, 3.0]), min_size=width, max_size=width)
    )
    return z * torch.tensor(scales, dtype=torch.float64)


def rotation(size, seed=1):
    return torch.linalg.qr(features((size, size), seed)).Q


def close(first, second):
    assert float(first) == pytest.approx(float(second), abs=1e-10, rel=1e-8)


smooth = pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "energy"])


@smooth
@given(z=matrices())
def test_rotations_and_orders_of_samples_and_channels_do_not_matter(name, z):
    function = FUNCTIONS[name]
    expected = function(z)
    close(function(rotation(len(z)) @ z), expected)
    close(function(z @ rotation(z.shape[1])), expected)
    close(function(z.flip(0)), expected)
    close(function(z.flip(1)), expected)


@given(z=matrices())
def test_orders_do_not_matter_when_centred(z):
    for function in FUNCTIONS.values():
        expected = function(z, centre=True)
        close(function(z.flip(0), centre=True), expected)
        close(function(z + 1, centre=True), expected)


@given(z=matrices(), scale=st.sampled_from([1e-3, 0.5, 7.0, -2.0]))
def test_scale(z, scale):
    for name in ("fraction", "tracked fraction", "effective rank"):
        close(FUNCTIONS[name](scale * z), FUNCTIONS[name](z))
    close(trailing_energy(scale * z, 1), scale**2 * trailing_energy(z, 1))
    close(nuclear_norm(scale * z), abs(scale) * nuclear_norm(z))
    close(log_det(scale * z, eps=scale**2 * 0.1), log_det(z, eps=0.1))


@given(z=matrices(), more=st.integers(1, 9))
def test_rows_of_zeros_only_count_as_rows(z, more):
    longer = torch.cat([z, torch.zeros(more, z.shape[1], dtype=z.dtype)])
    share = len(z) / len(longer)
    for name in ("fraction", "effective rank"):
        close(FUNCTIONS[name](longer), FUNCTIONS[name](z))
    close(trailing_energy(longer, 1), share * trailing_energy(z, 1))
    close(nuclear_norm(longer), math.sqrt(share) * nuclear_norm(z))
    close(log_det(longer, eps=share * 0.1), log_det(z, eps=0.1))


@given(z=matrices())
def test_rows_twice_change_nothing(z):
    for function in FUNCTIONS.values():
        close(function(torch.cat([z, z])), function(z))


@given(z=matrices(), share=st.sampled_from([0.1, 0.5, 0.9, 0.999]))
def test_a_share_of_the_energy_leaves_no_more_than_the_rest(z, share):
    squares = [s * s for s in sigma(z)]
    if sum(squares) == 0:
        return
    left = float(trailing_energy(z, energy=share, fraction=True))
    assert left <= 1 - share + 1e-9
    goal = share * sum(squares) - 1e-9
    rank = next(r for r in range(len(squares) + 1) if sum(squares[:r]) >= goal)
    assert left <= sum(squares[max(rank, 1) :]) / sum(squares) + 1e-9
    assert left >= sum(squares[rank + 1 :]) / sum(squares) - 1e-9


def test_what_is_followed_comes_to_the_exact_value_from_above():
    z = features((640, 100), seed=5, mean=0.0) * torch.logspace(0, -2, 100, dtype=torch.float64)
    exact = float(trailing_energy(z, 3))
    basis, found = rotation(100)[:, :4], []
    for turn in range(40):
        value, basis = tracked_trailing_energy(z, 3, basis, turn=turn, most=4)
        found.append(float(value))
        torch.testing.assert_close(basis.T @ basis, torch.eye(4).double())
    assert min(found) >= exact - 1e-12
    assert found[0] > found[3] > exact
    assert found[-1] == pytest.approx(exact, abs=1e-10)
    cold, start = tracked_trailing_energy(z, 3)
    assert float(cold) == pytest.approx(exact, abs=1e-12)
    assert start.shape == (100, 3)


def test_half_precision_and_autocast_are_summed_in_single():
    z = features((40, 6))
    for function in FUNCTIONS.values():
        half = z.half().requires_grad_()
        result = function(half)
        result.backward()
        assert result.dtype == torch.float32
        assert half.grad.dtype == torch.float16
        torch.testing.assert_close(result.double(), function(half.double()), rtol=1e-4, atol=1e-5)
        single = z.float().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = function(single)
            mixed.backward()
        torch.testing.assert_close(mixed.double(), function(z), rtol=1e-4, atol=1e-5)
        exact = z.clone().requires_grad_()
        function(exact).backward()
        torch.testing.assert_close(single.grad.double(), exact.grad, rtol=1e-2, atol=1e-5)


@every_function
def test_what_is_not_finite_stays_so(name):
    for bad in (math.inf, math.nan):
        z = features((12, 5))
        z[3, 2] = bad
        z.requires_grad_()
        value = FUNCTIONS[name](z)
        value.backward()
        assert value.isnan()
        assert z.grad.isnan().any()


@every_function
def test_a_second_derivative_is_refused(name):
    z = features((12, 5)).requires_grad_()
    (gradient,) = torch.autograd.grad(FUNCTIONS[name](z).square(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda z: trailing_energy(z, 0), ConfigError, "from 1 to the width of 5, got 0"),
        (lambda z: trailing_energy(z, 6), ConfigError, "from 1 to the width of 5, got 6"),
        (lambda z: trailing_energy(z, True), ConfigError, "whole number .* got True"),
        (trailing_energy, ConfigError, "either a rank or the share"),
        (lambda z: trailing_energy(z, 1, energy=0.5), ConfigError, "either a rank or the share"),
        (lambda z: trailing_energy(z, energy=1.0), ConfigError, r"between 0 and 1, got 1\.0"),
        (lambda z: trailing_energy(z, energy=0.0), ConfigError, r"between 0 and 1, got 0\.0"),
        (lambda z: tracked_trailing_energy(z, 6), ConfigError, "Of 5 channels, .* got 6"),
        (lambda z: tracked_trailing_energy(z, 1, z.T[:, :2]), ConfigError, r"shape \(5, 2\)"),
        (lambda z: tracked_trailing_energy(z, 3, most=2), ConfigError, "width of 2, got 3"),
        (lambda z: log_det(z, eps=0.0), ConfigError, r"positive eps, got 0\.0"),
        (lambda z: nuclear_norm(z[:0]), LayoutError, r"shape \(0, 5\) has no singular values"),
        (lambda z: effective_rank(z[:, :0]), LayoutError, r"shape \(12, 0\) has no singular"),
    ],
)
def test_impossible_requests_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(features((12, 5)))


def test_requests_that_only_type_checks_refuse_here():
    """Users have no checks of types at run time."""
    code = """
import numpy as np
import torch
from anyteacher.errors import AnyteacherError
from anyteacher.spectral import log_det, trailing_energy

z = torch.randn(12, 5)
calls = [
    lambda: trailing_energy(z, 0.25),
    lambda: trailing_energy(z, torch.tensor(2.0)),
    lambda: trailing_energy(z, torch.tensor([2])),
    lambda: trailing_energy(z[0], 1),
    lambda: trailing_energy(z[None], 1),
    lambda: trailing_energy(z.int(), 1),
    lambda: trailing_energy(z + 0j, 1),
    lambda: log_det(z, eps=float("inf")),
]
for call in calls:
    try:
        call()
    except AnyteacherError as error:
        print(str(error)[:40])
two = trailing_energy(z, 2)
assert trailing_energy(z, np.int64(2)) == two == trailing_energy(z, torch.tensor(2))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["rank"] * 3 + ["feature"] * 4 + ["needs"]
