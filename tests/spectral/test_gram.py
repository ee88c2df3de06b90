import pytest
import torch

from anyteacher.spectral.gram import Slope, attach, eigh, finite, gram, precise


def features(rows, width):
    return torch.randn(rows, width, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(9000, 3), (3, 9), (4, 4)])
@pytest.mark.parametrize("centre", [False, True])
def test_it_is_the_smaller_matrix_of_products(shape, centre):
    z = features(*shape) + 2
    found = gram(z, centre=centre)
    plain = z - z.mean(0) if centre else z
    expected = plain @ plain.T if shape[0] < shape[1] else plain.T @ plain
    torch.testing.assert_close(found.matrix, expected / shape[0], atol=1e-12, rtol=1e-12)
    assert found.rows == shape[0]
    assert found.processes == 1
    of_channels = gram(z, centre=centre, by_rows=False)
    assert of_channels.matrix.shape == (shape[1], shape[1])


def slope_of(matrix, level, fewer):
    """A symmetric matrix as a level and what its eigenvectors have beyond it."""
    values, vectors = torch.linalg.eigh(matrix)
    kept = slice(fewer, None)
    return Slope(torch.tensor(level).to(matrix), vectors[:, kept], values[kept] - level)


@pytest.mark.parametrize("shape", [(5000, 3), (8, 3), (3, 8)])
@pytest.mark.parametrize("centre", [False, True])
def test_a_function_of_the_matrix_gets_the_gradient_of_autograd(shape, centre):
    """The sum of squares of the eigenvalues, whose slopes are twice the matrix."""
    z = (features(*shape) + 1).requires_grad_()
    products = gram(z.detach(), centre=centre)
    slope = slope_of(2 * products.matrix, 0.3, fewer=0)
    value = attach(z, products, products.matrix.square().sum(), slope)
    (3 * value).backward()
    other = z.detach().clone().requires_grad_()
    plain = other - other.mean(0) if centre else other
    expected = (plain.T @ plain / len(z)).square().sum()
    (3 * expected).backward()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(z.grad, other.grad)


@pytest.mark.parametrize("shape", [(5000, 300), (300, 5000)])
@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("columns", [0, 10, 149, 151, 300])
def test_few_directions_and_many_have_the_gradient_of_the_whole_matrix(shape, centre, columns):
    z = (features(*shape) + 1).requires_grad_()
    products = gram(z.detach(), centre=centre)
    vectors = torch.linalg.qr(features(300, columns)).Q
    slope = Slope(torch.tensor(0.7).double(), vectors, torch.linspace(1, 2, columns).double())
    attach(z, products, products.matrix.trace(), slope).backward()
    matrix = 0.7 * torch.eye(300) + (vectors * slope.weights) @ vectors.T
    plain = z.detach() - z.detach().mean(0) if centre else z.detach()
    expected = matrix @ plain if shape[0] < shape[1] else plain @ matrix
    torch.testing.assert_close(z.grad, 2 / shape[0] * expected, atol=1e-13, rtol=1e-9)


@pytest.mark.parametrize("width", [127, 128, 129, 300])
def test_every_block_is_right(width):
    z = features(40, width)
    found = gram(z, by_rows=False).matrix
    torch.testing.assert_close(found, z.T @ z / 40)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_that_are_alike_have_no_energy_around_their_mean(dtype):
    row = torch.randn(5, dtype=dtype)
    for rows in (3, 7, 100, 10_000):
        assert not gram(1e3 * row.repeat(rows, 1), centre=True).matrix.any()


def test_what_is_not_finite_is_taken_for_zeros():
    matrix = torch.eye(3)
    assert torch.equal(finite(matrix), matrix)
    matrix[0, 1] = torch.inf
    assert not finite(matrix).any()


def test_half_precision_becomes_single():
    assert precise(torch.ones(2).half()).dtype == torch.float32
    assert precise(torch.ones(2).double()).dtype == torch.float64


def test_no_copy_of_the_features_is_kept():
    from benchmarks.memory import kept_bytes

    z = torch.randn(500, 4, requires_grad=True)
    slope = Slope(torch.tensor(1.0), torch.zeros(4, 1), torch.zeros(1))

    def forward():
        products = gram(z.detach(), centre=True)
        return attach(z, products, products.matrix.trace(), slope)

    assert kept_bytes(forward) <= z.numel() * 4 + 4 * 16  # the input, the mean, the slope


def failing(monkeypatch, how):
    """Makes torch's decomposition fail in single precision, as LAPACK's does now and then."""
    right = torch.linalg.eigh

    def eigh(matrix):
        if matrix.dtype == torch.float64:
            return right(matrix)
        if how == "raises":
            raise torch.linalg.LinAlgError("failed to converge")
        values, vectors = right(matrix)
        values[-2] = float("nan")
        return values, vectors

    monkeypatch.setattr(torch.linalg, "eigh", eigh)


@pytest.mark.parametrize("how", ["gives nan", "raises"])
def test_a_decomposition_that_fails_is_done_again_in_double(monkeypatch, how):
    z = torch.randn(40, 6)
    matrix = z.mT @ z
    expected = torch.linalg.eigvalsh(matrix.double()).float()
    failing(monkeypatch, how)
    values, vectors = eigh(matrix)
    assert values.dtype == vectors.dtype == torch.float32
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(vectors @ values.diag() @ vectors.mT, matrix, rtol=1e-4, atol=1e-4)


def test_dead_channels_and_scales_far_apart():
    """A matrix of the kind for which one LAPACK gave NaN."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        scales = 10 ** (-12 * torch.rand(64, generator=generator))
        alive = torch.rand(64, generator=generator) < 0.4
        z = torch.randn(200, 64, generator=generator).relu() * scales * alive
        values, vectors = eigh(z.mT @ z)
        assert values.isfinite().all()
        assert vectors.isfinite().all()


def test_what_is_not_finite_counts_as_zeros():
    values, _ = eigh(torch.full((3, 3), float("nan")))
    assert values.tolist() == [0.0, 0.0, 0.0]
