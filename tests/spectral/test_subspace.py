from itertools import pairwise

import pytest
import torch

from anyteacher.spectral import top_subspace, tracks
from anyteacher.spectral.subspace import ITERATIONS, _fresh

CPU, OTHER = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("side", "rank", "device", "expected"),
    [
        (256, 64, CPU, True),
        (256, 65, CPU, False),
        (255, 1, CPU, False),
        (1024, 256, CPU, True),
        (128, 32, OTHER, True),
        (127, 1, OTHER, False),
        (128, 32, None, True),  # somewhere
        (128, 33, None, False),
    ],
)
def test_the_choice_is_one_of_size_and_device(side, rank, device, expected):
    assert tracks(side, rank, device) == expected


def energies(width=12, ratio=0.7):
    basis = torch.linalg.qr(torch.randn(width, width, dtype=torch.float64)).Q
    values = ratio ** torch.arange(width, dtype=torch.float64)
    return (basis * values) @ basis.T, basis


def projection(basis):
    return basis @ basis.T


def test_without_a_start_it_holds_the_leading_eigenvectors():
    matrix, basis = energies()
    for rank in (1, 5, 12):
        found = top_subspace(matrix, rank)[0]
        torch.testing.assert_close(projection(found), projection(basis[:, :rank]))
        torch.testing.assert_close(found[:, 0].abs(), basis[:, 0].abs())  # strongest first


def test_each_step_brings_it_nearer_by_the_ratio_of_the_eigenvalues_at_least():
    matrix, basis = energies(80, ratio=0.9)
    found, errors = torch.linalg.qr(torch.randn(80, 8, dtype=torch.float64)).Q, []
    for turn in range(16):
        found = top_subspace(matrix, 8, found, turn)[0]
        torch.testing.assert_close(found.T @ found, torch.eye(8).double())
        errors.append(float((projection(found) - projection(basis[:, :8])).norm()))
    # The ratio of the ninth eigenvalue to the eighth, to the power of the steps.
    assert all(after < before * 0.9**ITERATIONS for before, after in pairwise(errors))
    assert errors[-1] < 1e-3


@pytest.mark.parametrize(
    "matrix",
    [torch.zeros(6, 6), torch.eye(6), torch.full((6, 6), torch.nan), torch.ones(6, 6)],
    ids=["zeros", "identity", "not a number", "rank one"],
)
def test_its_columns_are_orthonormal_whatever_the_matrix(matrix):
    start = None
    for _ in range(3):
        start = top_subspace(matrix, 3, start)[0]
        torch.testing.assert_close(start.T @ start, torch.eye(3))


@pytest.mark.parametrize("matrix", [torch.zeros(40, 40), torch.full((40, 40), torch.nan)])
def test_a_batch_that_says_nothing_leaves_it_as_it_is(matrix):
    start = torch.linalg.qr(torch.randn(40, 10)).Q
    basis, energies = top_subspace(matrix, 10, start)
    assert torch.equal(basis, start)
    assert not energies.any()


def test_the_energies_are_those_along_the_directions():
    matrix, _ = energies(40, 0.9)
    for start in (None, torch.linalg.qr(torch.randn(40, 10, dtype=torch.float64)).Q):
        basis, held = top_subspace(matrix, 10, start, 3)
        torch.testing.assert_close(held, (basis.mT @ matrix @ basis).diagonal())
        assert (held.diff() <= 1e-12).all()  # the strongest first


def excess(matrix, basis):
    """How much more energy is left than beyond the best directions, as a factor."""
    left = matrix.trace() - (matrix @ basis * basis).sum()
    return float(left / torch.linalg.eigvalsh(matrix)[: -basis.shape[1]].sum())


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_energy_in_directions_that_were_dead_is_found(flat, turned):
    """The power method alone never leaves a space that the matrix maps to itself."""
    torch.manual_seed(0)
    width, rank = 128, 24
    scales = torch.cat([torch.full((width // 2,), 0.3), torch.linspace(2, 0.2, width // 2)])
    if flat:
        scales[width // 2 :] = 1
    turn = torch.eye(width, dtype=torch.float64)
    if turned:
        turn = torch.linalg.qr(torch.randn(width, width, dtype=torch.float64)).Q
    found = turn[:, :rank]  # what was alive is in the first half, and still is a little
    left = []
    for step in range(12):
        z = (torch.randn(600, width, dtype=torch.float64) * scales) @ turn.mT
        matrix = z.mT @ z
        found = top_subspace(matrix, rank, found, torch.tensor(step))[0]
        left.append(excess(matrix, found))
    torch.testing.assert_close(found.mT @ found, torch.eye(rank, dtype=torch.float64))
    assert max(left[5:]) < (1.08 if flat else 1.01)
    assert excess(matrix, turn[:, :rank]) > 1.3  # it was worth finding


def test_the_fresh_directions_differ_from_turn_to_turn_and_span_everything():
    like = torch.zeros(64, 64, dtype=torch.float64)
    blocks = [_fresh(like, 8, turn) for turn in range(8)]
    assert torch.linalg.cond(torch.cat(blocks, 1)) < 1e4
    assert torch.equal(_fresh(like, 8, torch.tensor(3)), blocks[3])
    late = _fresh(like, 8, 10**9)
    assert late.isfinite().all()
    assert float(late.abs().max()) <= 1
