import pytest
import torch

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.normalization import (
    IMAGENET,
    ImageNorm,
    inverse_length,
    normalize,
    standardize,
    unit_length,
    whiten,
)

EPS = 1e-5


def slow(x, how):
    """One vector of numbers at a time."""
    x = x.clone()
    if x.ndim == 2:
        return slow(x[:, :, None, None], how)[:, :, 0, 0]
    if how == "batch":
        for channel in range(x.shape[1]):
            values = x[:, channel].flatten()
            mean = sum(values) / len(values)
            variance = sum((values - mean) ** 2) / len(values)
            x[:, channel] = (x[:, channel] - mean) / (variance + EPS) ** 0.5
        return x
    for b in range(len(x)):
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                row = x[b, :, i, j].clone()
                if how == "l2":
                    x[b, :, i, j] = row / max(float((row**2).sum() ** 0.5), EPS)
                else:
                    mean = sum(row) / len(row)
                    variance = sum((row - mean) ** 2) / len(row)
                    x[b, :, i, j] = (row - mean) / (variance + EPS) ** 0.5
    return x


@pytest.mark.parametrize("how", ["batch", "layer", "l2"])
@pytest.mark.parametrize("shape", [(3, 4, 2, 5), (6, 4)])
def test_each_kind_against_its_definition(how, shape):
    x = 3 + 2 * torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(normalize(x, how), slow(x, how), atol=1e-12, rtol=0)
    assert torch.autograd.gradcheck(lambda y: normalize(y, how), x.requires_grad_())


def test_none_is_the_feature_itself():
    x = torch.randn(2, 3)
    assert normalize(x, "none") is x


@pytest.mark.parametrize("how", ["batch", "layer", "l2", "whiten"])
def test_constants_stay_finite_and_half_precision_is_left(how):
    for x in (torch.zeros(3, 4, 2, 2), torch.full((6, 4), 1e4, dtype=torch.bfloat16)):
        x.requires_grad_()
        y = normalize(x, how)
        assert y.dtype == torch.float32
        y.sum().backward()
        assert y.isfinite().all()
        assert x.grad.isfinite().all()


def test_what_is_zero_has_no_direction_and_no_gradient():
    x = torch.randn(3, 4, 2, 2)
    x[1, :, 0, 1] = 0
    uneven = torch.randn_like(x)
    for how in (
        lambda y: normalize(y, "l2"),
        lambda y: unit_length(y, 1),
        lambda y: y * inverse_length(y, 1),
    ):
        y = x.clone().requires_grad_()
        result = how(y)
        (result * uneven).sum().backward()
        lengths = result.detach().norm(dim=1)
        assert lengths[1, 0, 1] == 0
        assert y.grad[1, :, 0, 1].abs().max() == 0
        lengths[1, 0, 1] = 1
        torch.testing.assert_close(lengths, torch.ones(3, 2, 2))
        assert y.grad.abs().max() < 1e3


def test_a_length_below_the_least_is_divided_by_that():
    x = torch.tensor([[3e-7, 4e-7]], dtype=torch.float64)
    torch.testing.assert_close(normalize(x, "l2"), x / EPS)
    torch.testing.assert_close(unit_length(x, 1), x / 5e-7)


def slow_whiten(x):
    """Standardised rows, each solved against a Cholesky factor, one number at a time."""
    rows = slow(x, "batch").movedim(1, -1).reshape(-1, x.shape[1]).tolist()
    width = x.shape[1]
    factor = [[0.0] * width for _ in range(width)]
    for i in range(width):
        for j in range(i + 1):
            entry = sum(row[i] * row[j] for row in rows) / len(rows) + (EPS if i == j else 0.0)
            entry -= sum(factor[i][k] * factor[j][k] for k in range(j))
            factor[i][j] = entry**0.5 if i == j else entry / factor[j][j]
    for row in rows:
        for i in range(width):
            row[i] = (row[i] - sum(factor[i][k] * row[k] for k in range(i))) / factor[i][i]
    white = torch.tensor(rows, dtype=x.dtype)
    return white.reshape(x.shape[0], *x.shape[2:], width).movedim(-1, 1)


def rows_of(x):
    return x.movedim(1, -1).flatten(0, -2)


@pytest.mark.parametrize("shape", [(3, 4, 2, 5), (6, 4), (2, 1, 1, 3), (4, 3, 5, 1)])
def test_whitening_against_its_definition(shape):
    x = 3 + 2 * torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(normalize(x, "whiten"), slow_whiten(x), atol=1e-10, rtol=0)
    assert torch.autograd.gradcheck(lambda y: normalize(y, "whiten"), x.requires_grad_())
    if x.ndim == 4:
        other = x.detach().contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(whiten(other), whiten(x.detach()))


def test_white_rows_have_no_mean_and_identity_covariance():
    mix = torch.randn(5, 5, dtype=torch.float64)
    x = torch.einsum("dc,bchw->bdhw", mix, torch.randn(8, 5, 4, 6, dtype=torch.float64)) + 7
    rows = rows_of(whiten(x, eps=1e-12))
    torch.testing.assert_close(rows.mean(0), torch.zeros(5).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(rows.T @ rows / len(rows), torch.eye(5).double(), atol=1e-7, rtol=0)


def test_whitening_undoes_every_mixture_of_the_channels_but_a_rotation():
    x = torch.randn(50, 4, dtype=torch.float64)
    mix = torch.randn(4, 4, dtype=torch.float64)
    mine, theirs = whiten(x, eps=1e-12), whiten(x @ mix + 3, eps=1e-12)
    torch.testing.assert_close(mine @ mine.T, theirs @ theirs.T, atol=1e-6, rtol=0)
    # A mixture of each channel with those before it: not even a rotation is left.
    lower = mix.tril(-1) + torch.diag(torch.tensor([0.5, 2.0, 1.0, 3.0]).double())
    torch.testing.assert_close(whiten(x @ lower.T, eps=1e-12), mine, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 1e4])
def test_whitening_channels_that_repeat_each_other_stays_finite(dtype, scale):
    hidden = torch.randn(40, 3, 2, 4)
    x = scale * torch.cat([hidden, hidden, hidden.abs() * 0, torch.ones_like(hidden)] * 20, 1)
    x = x.to(dtype).requires_grad_()
    y = normalize(x, "whiten")
    assert y.dtype == torch.float32
    y.square().sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert y.abs().max() < 20  # a direction without variance comes to none


def test_autocast_does_not_whiten_in_half_precision():
    x = torch.randn(40, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = normalize(x, "whiten")
    torch.testing.assert_close(y, normalize(x, "whiten"))


def test_whitening_what_is_not_finite_gives_nan_and_no_other_error():
    x = torch.randn(9, 4)
    x[2, 1] = torch.nan
    assert normalize(x, "whiten").isnan().all()


@pytest.mark.parametrize("shape", [(5, 4), (3, 5), (1, 4, 2, 2)])
def test_whitening_needs_more_rows_than_channels(shape):
    message = rf"at least {shape[1] + 2} rows .* this has \d. Use a larger batch"
    with pytest.raises(LayoutError, match=message):
        normalize(torch.randn(shape), "whiten")


def test_a_batch_of_one_row_says_nothing():
    with pytest.raises(LayoutError, match=r"at least two rows and this has 1"):
        normalize(torch.randn(1, 4), "batch")
    assert standardize(torch.randn(1, 4), [0]).abs().max() == 0


def test_an_unknown_kind(unchecked):
    with pytest.raises(ConfigError, match=r"Unknown normalisation 'layers'. Did you mean layer\?"):
        normalize(torch.randn(2, 4), "layers")


def test_images_go_from_one_normalisation_to_another_in_one_step():
    images = torch.rand(2, 3, 4, 5)
    own = ImageNorm((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))

    def by_hand(norm):
        mean, std = torch.tensor(norm.mean), torch.tensor(norm.std)
        return (images - mean[:, None, None]) / std[:, None, None]

    for before in (ImageNorm(), IMAGENET, own):
        scale, shift = before.to(own)
        torch.testing.assert_close(by_hand(before) * scale + shift, by_hand(own))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((), (1.0,), "needs a mean"),
        ((0.0,), (0.0,), "positive std"),
        ((0.0, 0.0), (1.0, 1.0, 1.0), "2 means and 3 stds"),
    ],
)
def test_impossible_normalisations_are_refused(mean, std, message):
    with pytest.raises(ConfigError, match=message):
        ImageNorm(mean, std)
