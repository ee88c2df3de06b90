import pytest
import torch

from anyteacher.spectral.gram import attach, finite, gram, precise


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


@pytest.mark.parametrize("shape", [(8, 3), (3, 8)])
@pytest.mark.parametrize("centre", [False, True])
def test_a_function_of_the_matrix_gets_the_gradient_of_autograd(shape, centre):
    """The sum of squares of the eigenvalues, whose slopes are twice the matrix."""
    z = (features(*shape) + 1).requires_grad_()
    products = gram(z.detach(), centre=centre)
    value = attach(z, products, products.matrix.square().sum(), 2 * products.matrix)
    (3 * value).backward()
    other = z.detach().clone().requires_grad_()
    plain = other - other.mean(0) if centre else other
    expected = (plain.T @ plain / len(z)).square().sum()
    (3 * expected).backward()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(z.grad, other.grad)


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
    from benchmarks.timing import kept_bytes

    z = torch.randn(500, 4, requires_grad=True)

    def forward():
        products = gram(z.detach(), centre=True)
        return attach(z, products, products.matrix.trace(), torch.eye(4))

    assert kept_bytes(forward) <= z.numel() * 4 + 4 * (16 + 4)  # the input, M, the mean
