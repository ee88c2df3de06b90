import math

import pytest
import torch
from torch import Tensor

from anyteacher.errors import DataError
from anyteacher.metrics import TranslationMetrics


def slow_ssim(p: Tensor, g: Tensor) -> float:
    """Window by window, from the definition of Wang et al."""
    weights = [math.exp(-(k**2) / (2 * 1.5**2)) for k in range(-5, 6)]
    window = [[a * b / sum(weights) ** 2 for a in weights] for b in weights]
    values = []
    for c in range(p.shape[0]):
        for y in range(p.shape[1] - 10):
            for x in range(p.shape[2] - 10):
                terms = [
                    (window[i][j], float(p[c, y + i, x + j]), float(g[c, y + i, x + j]))
                    for i in range(11)
                    for j in range(11)
                ]
                a, b = (sum(t[0] * t[k] for t in terms) for k in (1, 2))
                aa = sum(w * (u - a) ** 2 for w, u, _ in terms)
                bb = sum(w * (v - b) ** 2 for w, _, v in terms)
                ab = sum(w * (u - a) * (v - b) for w, u, v in terms)
                light = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
                values.append(light * (2 * ab + 9e-4) / (aa + bb + 9e-4))
    return sum(values) / len(values)


def test_both_equal_the_slow_reference_over_a_whole_set() -> None:
    torch.manual_seed(0)
    target = torch.rand(3, 3, 12, 14)
    noise = torch.tensor([0.02, 0.2, 1.0]).reshape(3, 1, 1, 1) * torch.randn_like(target)
    prediction = (target + noise).clamp(0, 1)
    metric = TranslationMetrics()
    for part in (slice(0, 2), slice(2, 3)):  # a mean over batches would weigh the last one more
        metric.update(prediction[part], target[part])
    found = metric.compute()
    pairs = list(zip(prediction.double(), target.double(), strict=True))
    squares = [float(((p - g) ** 2).mean()) for p, g in pairs]
    psnr = sum(-10 * math.log10(square) for square in squares) / 3
    assert float(found["psnr"]) == pytest.approx(psnr, rel=1e-6)
    assert float(found["ssim"]) == pytest.approx(sum(slow_ssim(p, g) for p, g in pairs) / 3)


def test_a_picture_that_is_met_exactly() -> None:
    picture = torch.rand(1, 3, 11, 11)
    metric = TranslationMetrics()
    metric.update(picture, picture)
    found = metric.compute()
    assert float(found["ssim"]) == pytest.approx(1)
    assert float(found["psnr"]) == math.inf


def test_small_pictures_and_none_are_refused() -> None:
    metric = TranslationMetrics()
    with pytest.raises(DataError, match=r"11 x 11 pixels or more.*10 x 64"):
        metric.update(torch.rand(1, 3, 10, 64), torch.rand(1, 3, 10, 64))
    metric.update(torch.rand(0, 3, 16, 16), torch.rand(0, 3, 16, 16))
    with pytest.raises(DataError, match="no image to measure"):
        metric.compute()


def test_what_is_not_known_does_not_count() -> None:
    torch.manual_seed(0)
    target, prediction = torch.rand(3, 3, 20, 24), torch.rand(3, 3, 20, 24)
    target[0, :, :3], target[1, :, :, 20:], target[2] = math.nan, math.nan, math.nan
    found, expected = TranslationMetrics(), TranslationMetrics()
    found.update(prediction, target)
    expected.update(prediction[:1, :, 3:], target[:1, :, 3:])
    expected.update(prediction[1:2, ..., :20], target[1:2, ..., :20])
    for name, value in expected.compute().items():
        torch.testing.assert_close(found.compute()[name], value)
    target[0, :, :10] = math.nan
    with pytest.raises(DataError, match="11 x 11 pixels that are known"):
        found.update(prediction, target)
