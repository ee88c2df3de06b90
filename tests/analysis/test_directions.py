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


@pytest.mark.parametrize("chosen", range(4))
def test_a_projector_of_rank_one_uses_its_direction_alone(teacher, basis, chosen):
    projector = torch.outer(basis[:, chosen], torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    result = found(teacher @ projector + 7.0, teacher)
    expected = torch.eye(4, dtype=torch.float64)[chosen]
    assert torch.allclose(result.projected, expected, atol=1e-12)
    assert torch.allclose(result.use, expected, atol=1e-10)
    assert result.dropped.tolist() == [place != chosen for place in range(4)]
    left = 1 - float(ENERGIES[chosen] / ENERGIES.sum())
    assert result.energy_dropped == pytest.approx(left)
    assert result.recovered == pytest.approx(1 - left)


def test_a_projector_between_two_directions_splits_by_their_energies(teacher, basis):
    projector = (basis[:, :1] + basis[:, 2:3]) / 2**0.5
    result = found(teacher @ projector, teacher)
    assert torch.allclose(result.projected, torch.tensor([0.9, 0.0, 0.1, 0.0]).double())
    assert torch.allclose(result.use, torch.tensor([1.0, 0.0, 1.0, 0.0]).double(), atol=1e-10)


def test_any_matrix_passes_what_its_formula_says(teacher, basis):
    projector = torch.randn(4, 6, dtype=torch.float64)
    result = found(teacher @ projector, teacher)
    gains = (basis.T @ projector).square().sum(1)
    parts = ENERGIES * gains
    assert torch.allclose(result.projected, parts / parts.sum())
    assert torch.allclose(result.use, gains / gains.max())
    assert float(result.projected.sum()) == pytest.approx(1.0)


def test_whitening_uses_all_directions_alike_and_nothing_else_does(teacher, basis):
    white = teacher @ basis / ENERGIES.sqrt()
    result = found(white, teacher)
    assert torch.allclose(result.projected, torch.full((4,), 0.25).double())
    gains = 1 / ENERGIES
    assert torch.allclose(result.use, gains / gains.max())


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_what_is_recovered_is_what_least_squares_reads_back(teacher, rank):
    projector = torch.randn(4, rank, dtype=torch.float64) @ torch.randn(rank, 6).double()
    projected = teacher @ projector
    result = found(projected, teacher)
    mine, theirs = (x - x.mean(0) for x in (projected, teacher))
    read = mine @ torch.linalg.pinv(mine, rtol=1e-8) @ theirs
    assert result.recovered == pytest.approx(float(read.square().sum() / theirs.square().sum()))
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
    assert result.dropped.tolist() == [True, False, True, True]


def test_directions_of_no_energy_are_left_out(teacher, basis):
    flat = teacher - teacher.mean(0)
    flat = flat - flat @ basis[:, 3:] @ basis[:, 3:].T
    result = found(flat, flat)
    assert len(result.teacher) == len(result.use) == 3
    assert float(result.teacher.sum()) == pytest.approx(1.0)


def test_constant_features_use_nothing(teacher):
    nothing = found(torch.ones(50, 3).double(), teacher)
    assert nothing.use.tolist() == nothing.projected.tolist() == [0.0] * 4
    assert nothing.energy_dropped == pytest.approx(1.0)
    assert nothing.recovered == 0.0
    constant = found(teacher, torch.ones(50, 3).double())
    assert (len(constant.use), constant.recovered) == (0, 0.0)


def test_a_traditional_projection_of_another_width_is_refused(teacher):
    with pytest.raises(LayoutError, match=r"projected to 3 channels .* a teacher of 4"):
        found(teacher[:, :3], teacher, "traditional")
