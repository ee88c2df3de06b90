import pytest
import torch

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.normalization import IMAGENET, ImageNorm, normalize, standardize

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


@pytest.mark.parametrize("how", ["batch", "layer", "l2"])
def test_constants_stay_finite_and_half_precision_is_left(how):
    for x in (torch.zeros(3, 4, 2, 2), torch.full((3, 4), 1e4, dtype=torch.bfloat16)):
        x.requires_grad_()
        y = normalize(x, how)
        assert y.dtype == torch.float32
        y.sum().backward()
        assert y.isfinite().all()
        assert x.grad.isfinite().all()


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
