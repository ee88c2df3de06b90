"""The two terms against plain formulas, for every linear projector there is."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anyteacher.errors import ConfigError, LayoutError, NonFiniteError
from anyteacher.losses import cka
from anyteacher.projectors import Linear, LowRank, Orthogonal
from anyteacher.spectral import (
    Moments,
    closed_form,
    decompose,
    decompose_moments,
    effective_rank,
)

DIRECTIONS = ("inverted", "traditional")


def features(rows, width, seed=0, mean=0.4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, dtype=torch.float64, generator=generator) + mean


def loss(z_s, z_t, weight, bias, direction):
    compared, projected = (z_s, z_t) if direction == "inverted" else (z_t, z_s)
    offset = 0 if bias is None else bias
    return (compared - projected @ weight.T - offset).square().mean()


def slow(z_s, z_t, weight, bias, direction, *, rank):
    """Both terms and the student's share of energy in each, direction by direction."""
    compared, projected = (z_s, z_t) if direction == "inverted" else (z_t, z_s)
    x = compared if bias is None else compared - bias
    u, s, vh = torch.linalg.svd(weight.T, full_matrices=True)  # P = U S V^T
    transfer = sum(
        float((x @ vh[i] - s[i] * projected @ u[:, i]).square().sum()) for i in range(rank)
    )
    rest = sum(float((x @ vh[i]).square().sum()) for i in range(rank, len(vh)))
    mine = vh if direction == "inverted" else u.T
    share = sum(float((z_s @ mine[i]).square().sum()) for i in range(rank))
    return transfer / x.numel(), rest / x.numel(), share / float(z_s.square().sum())


KINDS = ["linear", "bias", "low rank", "orthogonal", "closed form", "zero"]


def projector(kind, z_s, z_t, direction):
    """Weight, bias and rank."""
    before, after = z_t.shape[1], z_s.shape[1]
    if direction == "traditional":
        before, after = after, before
    full = min(before, after)
    if kind == "closed form":
        fit = closed_form(z_t, z_s) if direction == "inverted" else closed_form(z_s, z_t)
        return fit, None, min(full, len(z_s))
    if kind == "zero":
        return torch.zeros(after, before, dtype=torch.float64), None, 0
    torch.manual_seed(2)
    made, rank = {
        "linear": (Linear(), full),
        "bias": (Linear(bias=True), full),
        "low rank": (LowRank(1, bias=True), 1),
        "orthogonal": (Orthogonal(), full),
    }[kind]
    made.build(before, after)
    made.double()
    if kind == "orthogonal":
        return made.weight.detach(), None, rank
    if kind == "low rank":
        return (made.up.weight @ made.down.weight).detach(), made.up.bias.detach(), rank
    bias = made.linear.bias
    return made.linear.weight.detach(), None if bias is None else bias.detach(), rank


@given(
    kind=st.sampled_from(KINDS),
    direction=st.sampled_from(DIRECTIONS),
    rows=st.integers(1, 20),
    widths=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    seed=st.integers(0, 10**6),
)
def test_the_terms_are_those_of_the_formula_and_add_up(kind, direction, rows, widths, seed):
    z_s, z_t = features(rows, widths[0], seed), features(rows, widths[1], seed + 1)
    weight, bias, rank = projector(kind, z_s, z_t, direction)
    found = decompose(z_s, z_t, weight, bias, direction=direction)
    expected = float(loss(z_s, z_t, weight, bias, direction))
    assert float(found.transfer + found.regularisation) == pytest.approx(
        expected, rel=1e-12, abs=1e-29
    )
    assert float(found.total) == pytest.approx(expected, rel=1e-12, abs=1e-29)
    # The ridge magnifies the rounding of what too few rows leave open.
    assert int(found.rank) <= rank or kind == "closed form"
    transfer, rest, share = slow(z_s, z_t, weight, bias, direction, rank=int(found.rank))
    assert float(found.transfer) == pytest.approx(transfer, rel=1e-9, abs=1e-12)
    assert float(found.regularisation) == pytest.approx(rest, rel=1e-9, abs=1e-12)
    assert float(found.transfer_share) == pytest.approx(share, abs=1e-9)
    assert float(found.transfer_share + found.regularisation_share) == pytest.approx(1)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("widths", [(4, 7), (7, 4), (5, 5)])
def test_over_batches_it_is_that_of_all_rows(kind, direction, widths):
    z_s, z_t = features(90, widths[0]), features(90, widths[1], 1)
    weight, bias, rank = projector(kind, z_s, z_t, direction)
    whole = decompose(z_s, z_t, weight, bias, direction=direction)
    parts = [Moments.of(s, t) for s, t in zip(z_s.split(40), z_t.split(40), strict=True)]
    found = decompose_moments(sum(parts[1:], parts[0]), weight, bias, direction=direction)
    assert int(whole.rank) == int(found.rank) == rank
    for name, value in vars(whole).items():
        torch.testing.assert_close(getattr(found, name), value, atol=1e-12, rtol=1e-12)
    assert float(found.total) == pytest.approx(
        float(loss(z_s, z_t, weight, bias, direction)), rel=1e-12
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"direction": "sideways"}, "'inverted' or 'traditional', got 'sideways'"),
        ({"direction": "inverte"}, "Did you mean inverted"),
        ({"direction": "none"}, "got 'none'"),
        ({"tolerance": -0.1}, r"from 0 to 1, got -0\.1"),
        ({"tolerance": math.nan}, "from 0 to 1, got nan"),
        ({"tolerance": 2.0}, r"from 0 to 1, got 2\.0"),
    ],
)
def test_settings_that_mean_nothing(settings, message, unchecked):
    z = torch.randn(9, 3)
    weight = torch.eye(3)
    for call in (
        lambda: decompose(z, z, weight, **settings),
        lambda: decompose_moments(Moments.of(z, z), weight, **settings),
    ):
        with pytest.raises(ConfigError, match=message):
            call()


def test_what_is_said_of_projector_and_features():
    z_s, z_t = features(50, 4), features(50, 6, 1)
    weight, _, _ = projector("linear", z_s, z_t, "inverted")
    found = decompose(z_s, z_t, weight)
    values = torch.linalg.svdvals(weight)
    torch.testing.assert_close(found.singular_values, values)
    shares = (values.square() / values.square().sum()).tolist()
    entropy = -sum(p * math.log(p) for p in shares)
    assert float(found.projector_rank) == pytest.approx(math.exp(entropy))
    torch.testing.assert_close(found.energy, z_s.square().mean())
    torch.testing.assert_close(found.student_rank, effective_rank(z_s))
    torch.testing.assert_close(found.cka, 1 - cka(z_s, z_t))


def test_a_case_on_paper():
    """P keeps the teacher's one channel as the student's first: the second is regularised."""
    z_s = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    z_t = torch.tensor([[1.0], [1.0]])
    found = decompose(z_s, z_t, torch.tensor([[2.0], [0.0]]))
    assert float(found.transfer) == pytest.approx(((1 - 2) ** 2 + (3 - 2) ** 2) / 4)
    assert float(found.regularisation) == pytest.approx((4 + 16) / 4)
    assert float(found.transfer_share) == pytest.approx(10 / 30)
    assert int(found.rank) == 1
    assert found.singular_values.tolist() == pytest.approx([2.0])
    mirror = decompose(z_t, z_s, torch.tensor([[2.0], [0.0]]), direction="traditional")
    assert float(mirror.transfer) == float(found.transfer)
    assert float(mirror.regularisation) == float(found.regularisation)
    assert float(mirror.transfer_share) == pytest.approx(1)  # the student's one channel is used


@pytest.mark.parametrize("tolerance", [None, 0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_it_is_exact_at_any_tolerance(tolerance, direction):
    z_s, z_t = features(50, 4), features(50, 6, 1)
    weight, bias, _ = projector("bias", z_s, z_t, direction)
    found = decompose(z_s, z_t, weight, bias, direction=direction, tolerance=tolerance)
    torch.testing.assert_close(
        found.transfer + found.regularisation,
        loss(z_s, z_t, weight, bias, direction),
        rtol=1e-12,
        atol=0,
    )
    values = found.singular_values
    assert int(found.rank) == int((values > (tolerance or 0) * values[0]).sum())


def test_features_of_zeros_and_constants_have_no_share_of_nothing():
    for direction in DIRECTIONS:
        for z_s in (torch.zeros(5, 3), torch.ones(5, 3)):
            z_t = torch.zeros(5, 3)
            found = decompose(z_s, z_t, torch.zeros(3, 3), direction=direction)
            for value in vars(found).values():
                assert value.isfinite().all()
            assert float(found.projector_rank) == 0
            assert float(found.transfer_share) == 0
            assert float(found.regularisation_share) == float(z_s.any())


def test_it_needs_no_history_and_works_in_half_precision_and_autocast():
    z_s, z_t = features(50, 4).requires_grad_(), features(50, 6, 1)
    weight, bias, _ = projector("bias", z_s, z_t, "inverted")
    exact = decompose(z_s, z_t, weight.requires_grad_(), bias)
    assert not any(value.requires_grad for value in vars(exact).values())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = decompose(z_s.half(), z_t.half(), weight, bias)
    for name, value in vars(found).items():
        torch.testing.assert_close(
            value.double(), getattr(exact, name).double(), atol=1e-3, rtol=1e-3
        )
    assert found.total.dtype == torch.float32


def test_what_cannot_be_decomposed_is_refused():
    z_s, z_t = features(50, 4), features(50, 6, 1)
    with pytest.raises(LayoutError, match=r"shape \(6, 4\) does not join .* must be \(4, 6\)"):
        decompose(z_s, z_t, torch.zeros(6, 4))
    with pytest.raises(LayoutError, match=r"shape \(4, 6\) .*'traditional'.* must be \(6, 4\)"):
        decompose_moments(Moments.of(z_s, z_t), torch.zeros(4, 6), direction="traditional")
    with pytest.raises(LayoutError, match="one row or more"):
        decompose(z_s[:0], z_t[:0], torch.zeros(4, 6))
    for bad in (math.inf, math.nan):
        with pytest.raises(NonFiniteError, match="finite features and a finite projector"):
            decompose(z_s, z_t, torch.full((4, 6), bad))
        z_s[0, 0] = bad
        with pytest.raises(NonFiniteError, match="finite features and a finite projector"):
            decompose(z_s, z_t, torch.zeros(4, 6))
        z_s[0, 0] = 0


@pytest.mark.parametrize("direction", ["inverted", "traditional"])
def test_the_rank_of_a_product_in_single_precision_is_not_lost_in_doubles(direction):
    """The zeros of a low-rank projector are rounding of its own precision, not of the moments'."""
    z_s, z_t = torch.randn(200, 12).double(), torch.randn(200, 20).double()
    shape = (12, 20) if direction == "inverted" else (20, 12)
    weight = torch.randn(shape[0], 3) @ torch.randn(3, shape[1])
    assert float(torch.linalg.svdvals(weight.double())[3]) > 0
    exact = decompose(z_s, z_t, weight, direction=direction)
    summed = decompose_moments(Moments.of(z_s, z_t), weight, direction=direction)
    for found in (exact, summed):
        assert int(found.rank) == 3
        assert float(found.regularisation) > 0.1


@pytest.mark.parametrize("name", ["svd", "eigh", "eigvalsh"])
def test_a_factorisation_that_fails_is_done_again_in_double(monkeypatch, name):
    z_s, z_t = features(9, 4).float(), features(9, 6, 1).float()
    weight = torch.randn(4, 6)
    expected = decompose(z_s, z_t, weight)
    right = getattr(torch.linalg, name)

    def failing(matrix, **settings):
        if matrix.dtype == torch.float32:
            raise torch.linalg.LinAlgError("failed to converge")
        return right(matrix, **settings)

    monkeypatch.setattr(torch.linalg, name, failing)
    found = decompose(z_s, z_t, weight)
    for field, value in vars(expected).items():
        torch.testing.assert_close(getattr(found, field), value)
