import pytest
import torch

from anyteacher.spectral import top_subspace, tracks
from anyteacher.spectral.subspace import ITERATIONS

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
        found = top_subspace(matrix, rank)
        torch.testing.assert_close(projection(found), projection(basis[:, :rank]))
        torch.testing.assert_close(found[:, 0].abs(), basis[:, 0].abs())  # strongest first


def test_each_step_brings_it_nearer_by_the_ratio_of_the_eigenvalues():
    matrix, basis = energies(ratio=0.5)
    found, errors = torch.linalg.qr(torch.randn(12, 3, dtype=torch.float64)).Q, []
    for _ in range(12):
        found = top_subspace(matrix, 3, found)
        torch.testing.assert_close(found.T @ found, torch.eye(3).double())
        errors.append(float((projection(found) - projection(basis[:, :3])).norm()))
    # The ratio of the fourth eigenvalue to the third, to the power of the steps, once settled.
    assert errors[8] / errors[6] == pytest.approx(0.5 ** (2 * ITERATIONS), rel=0.05)
    assert errors[-1] < 1e-6


def test_the_first_columns_are_what_they_alone_would_be():
    matrix, _ = energies()
    start = torch.linalg.qr(torch.randn(12, 6, dtype=torch.float64)).Q
    whole, part = top_subspace(matrix, 6, start), top_subspace(matrix, 2, start[:, :2])
    torch.testing.assert_close(projection(whole[:, :2]), projection(part))


@pytest.mark.parametrize(
    "matrix",
    [torch.zeros(6, 6), torch.eye(6), torch.full((6, 6), torch.nan), torch.ones(6, 6)],
    ids=["zeros", "identity", "not a number", "rank one"],
)
def test_its_columns_are_orthonormal_whatever_the_matrix(matrix):
    start = None
    for _ in range(3):
        start = top_subspace(matrix, 3, start)
        torch.testing.assert_close(start.T @ start, torch.eye(3))


@pytest.mark.parametrize("case", ["dead at first", "zeros first", "one channel", "turned"])
def test_a_start_in_an_empty_space_is_left(case):
    """The power method alone never leaves where the matrix is zero."""
    torch.manual_seed(0)
    width, rank = 64, 8
    z = torch.randn(300, width, dtype=torch.float64)
    z[:, :20] = 0
    start = torch.eye(width, dtype=torch.float64)[:, :rank]
    if case == "zeros first":
        start = top_subspace(torch.zeros(width, width, dtype=torch.float64), rank, start)
    elif case == "one channel":
        start = start.roll(width - rank - 1, 0)
    elif case == "turned":
        turn = torch.linalg.qr(torch.randn(width, width, dtype=torch.float64)).Q
        z, start = z @ turn, turn.mT @ start
    matrix = z.mT @ z
    found = start
    for _ in range(40):
        found = top_subspace(matrix, rank, found)
    torch.testing.assert_close(found.mT @ found, torch.eye(rank, dtype=torch.float64))
    held = (matrix @ found * found).sum()
    assert float(held) > 0.99 * float(torch.linalg.eigvalsh(matrix)[-rank:].sum())
