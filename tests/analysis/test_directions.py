"""Used and dropped directions, against cases that can be worked out by hand."""

import pytest
import torch

from anyteacher.analysis import Directions, directions_of
from anyteacher.errors import LayoutError
from anyteacher.spectral import Moments

ENERGIES = torch.tensor([9.0, 4.0, 1.0, 0.25], dtype=torch.float64)


@pytest.fixture
def basis():
    return torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q


@pytest.fixture
def teacher(basis):
    """Centred features whose principal directions are the basis, with the energies above."""
    scores = torch.randn(50, 4, dtype=torch.float64)
    scores = torch.linalg.qr(scores - scores.mean(0)).Q * 50**0.5
    return scores * ENERGIES.sqrt() @ basis.T + 3.0


def found(projected, teacher, direction="inverted") -> Directions:
    return directions_of(Moments.of(projected, teacher), direction=direction)


def test_the_teachers_energy_is_what_it_was_made_with(teacher):
    shares = found(teacher, teacher).teacher
    assert torch.allclose(shares, ENERGIES / ENERGIES.sum())


def test_all_passes_through_the_identity_as_it_is(teacher):
    for direction in ("inverted", "traditional"):
        result = found(teacher + 5.0, teacher, direction)
        assert torch.allclose(result.kept, torch.ones(4).double())
        assert torch.allclose(result.gain, torch.ones(4).double())
        assert result.recovered == pytest.approx(1.0)
        assert not result.dropped.any() | result.faint.any()


@pytest.mark.parametrize("chosen", range(4))
def test_a_projector_of_rank_one_keeps_its_direction_alone(teacher, basis, chosen):
    projector = torch.outer(basis[:, chosen], torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    result = found(teacher @ projector + 7.0, teacher)
    expected = torch.eye(4, dtype=torch.float64)[chosen]
    assert torch.allclose(result.projected, expected, atol=1e-12)
    assert torch.allclose(result.kept, expected, atol=1e-10)
    assert result.dropped.tolist() == [place != chosen for place in range(4)]
    left = 1 - float(ENERGIES[chosen] / ENERGIES.sum())
    assert result.energy_dropped == pytest.approx(left)
    assert result.recovered == pytest.approx(1 - left)


def test_a_projector_between_two_directions_keeps_of_each_what_it_makes_of_the_sum(teacher, basis):
    projector = (basis[:, :1] + basis[:, 2:3]) / 2**0.5
    result = found(teacher @ projector, teacher)
    split = torch.tensor([0.9, 0.0, 0.1, 0.0]).double()
    assert torch.allclose(result.projected, split)
    assert torch.allclose(result.kept, split, atol=1e-10)  # one number tells the stronger apart
    assert result.dropped.tolist() == [False, True, True, True]


def test_any_matrix_passes_what_its_formula_says(teacher, basis):
    projector = torch.randn(4, 6, dtype=torch.float64)
    result = found(teacher @ projector, teacher)
    gains = (basis.T @ projector).square().sum(1)
    parts = ENERGIES * gains
    assert torch.allclose(result.projected, parts / parts.sum())
    mean = parts.sum() / ENERGIES.sum()
    assert torch.allclose(result.gain, gains / mean)
    assert float(result.projected.sum()) == pytest.approx(1.0)


def test_a_weak_direction_of_large_gain_makes_no_strong_one_dropped():
    scores = torch.linalg.qr(torch.randn(2000, 2).double() - 0.5).Q
    scores = (scores - scores.mean(0)) @ torch.diag(torch.tensor([1.0, 0.01]).double())
    result = found(scores @ torch.diag(torch.tensor([1.0, 100.0]).double()), scores)
    assert result.recovered == pytest.approx(1.0)
    assert result.energy_dropped == 0
    assert not result.dropped.any() | result.faint.any()


def test_a_direction_that_is_kept_and_hardly_passes_is_faint(teacher, basis):
    passes = torch.diag(torch.tensor([1.0, 1.0, 0.05, 1.0]).double())
    result = found(teacher @ basis @ passes, teacher)
    assert result.faint.tolist() == [False, False, True, False]
    assert not result.dropped.any()


@pytest.mark.parametrize("rank", [1, 2, 8])
def test_all_directions_together_keep_no_more_than_the_rank(rank):
    teacher = torch.randn(400, 96).double() * torch.logspace(0, -1, 96).double()
    projector = torch.randn(96, rank).double() @ torch.randn(rank, 32).double()
    result = found(teacher @ projector, teacher)
    assert float(result.kept.sum()) == pytest.approx(rank)
    assert int((~result.dropped).sum()) <= 2 * rank
    assert int(result.dropped.sum()) >= 96 - 2 * rank


@pytest.mark.parametrize("direction", ["inverted", "traditional"])
@pytest.mark.parametrize("rank", [1, 3, 6])
def test_what_is_dropped_agrees_with_what_is_recovered(direction, rank):
    for _ in range(20):
        teacher = torch.randn(60, 6).double() * torch.logspace(0, -2 * torch.rand(1).item(), 6)
        projector = torch.randn(6, rank).double() @ torch.randn(rank, 6).double() / 6
        noise = torch.rand(1).item() * torch.randn(60, 6).double()
        result = found(teacher @ projector + noise, teacher, direction)
        mean = float((result.teacher * result.kept).sum() / result.teacher.sum())
        assert result.recovered == pytest.approx(mean)
        assert result.energy_dropped <= 2 * (1 - result.recovered) + 1e-9
        assert 1 - result.energy_dropped <= 2 * result.recovered + 1e-9


def test_whitening_keeps_all_and_gains_by_the_inverse_of_the_energy(teacher, basis):
    white = teacher @ basis / ENERGIES.sqrt()
    result = found(white, teacher)
    assert torch.allclose(result.projected, torch.full((4,), 0.25).double())
    assert torch.allclose(result.gain, 0.25 * ENERGIES.sum() / ENERGIES)
    assert torch.allclose(result.kept, torch.ones(4).double())


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_what_is_recovered_is_what_least_squares_reads_back(teacher, basis, rank):
    projector = torch.randn(4, rank, dtype=torch.float64) @ torch.randn(rank, 6).double()
    projected = teacher @ projector
    result = found(projected, teacher)
    mine, theirs = (x - x.mean(0) for x in (projected, teacher))
    read = mine @ torch.linalg.pinv(mine, rtol=1e-8) @ theirs
    assert result.recovered == pytest.approx(float(read.square().sum() / theirs.square().sum()))
    each = (read @ basis).square().sum(0) / (theirs @ basis).square().sum(0)
    assert torch.allclose(result.kept, each)
    assert (result.recovered > 1 - 1e-9) == (rank == 4)


def test_what_is_not_linear_in_the_teacher_is_no_direction_s_part(teacher):
    noise = torch.randn(50, 2, dtype=torch.float64)
    mixed = torch.cat([teacher, noise], dim=1)
    shares = found(mixed, teacher).projected
    assert float(shares.sum()) < 0.99
    centred = teacher - teacher.mean(0)
    fitted = centred @ torch.linalg.lstsq(centred, mixed - mixed.mean(0)).solution
    explained = fitted.square().sum() / (mixed - mixed.mean(0)).square().sum()
    assert float(shares.sum()) == pytest.approx(float(explained))


def test_a_traditional_projection_counts_where_it_lies(teacher, basis):
    student = torch.randn(50, 1, dtype=torch.float64)
    lying = student @ basis[:, 1:2].T
    result = found(lying, teacher, "traditional")
    assert torch.allclose(result.projected, torch.eye(4)[1].double(), atol=1e-12)


def test_a_traditional_projection_keeps_what_it_reproduces_as_it_stands(teacher, basis):
    wrong = torch.diag(torch.tensor([1.0, 0.5, 3.0, -1.0]).double())
    lying = (teacher @ basis @ wrong + 0.1 * torch.randn(50, 4).double()) @ basis.T - 2.0
    result = found(lying, teacher, "traditional")
    ours, theirs = ((x - x.mean(0)) @ basis for x in (lying, teacher))
    explained = 1 - (theirs - ours).square().sum(0) / theirs.square().sum(0)
    assert torch.allclose(result.kept, explained.clamp(min=0))
    assert result.dropped.tolist() == [False, False, True, True]
    assert result.kept[2:].tolist() == [0.0, 0.0]


def test_directions_of_no_energy_are_left_out(teacher, basis):
    flat = teacher - teacher.mean(0)
    flat = flat - flat @ basis[:, 3:] @ basis[:, 3:].T
    result = found(flat, flat)
    assert len(result.teacher) == len(result.kept) == 3
    assert float(result.teacher.sum()) == pytest.approx(1.0)


def test_constant_features_keep_nothing(teacher):
    nothing = found(torch.ones(50, 3).double(), teacher)
    assert nothing.kept.tolist() == nothing.projected.tolist() == [0.0] * 4
    assert nothing.energy_dropped == pytest.approx(1.0)
    assert nothing.recovered == 0.0
    constant = found(teacher, torch.ones(50, 3).double())
    assert (len(constant.kept), constant.recovered) == (0, 0.0)


def test_a_traditional_projection_of_another_width_is_refused(teacher):
    with pytest.raises(LayoutError, match=r"projected to 3 channels .* a teacher of 4"):
        found(teacher[:, :3], teacher, "traditional")
