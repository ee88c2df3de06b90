import numpy as np
import pytest
import torch

from anyteacher.errors import DataError
from anyteacher.metrics import FeatureMetrics


def slow_fid(made: np.ndarray, real: np.ndarray) -> float:
    """The trace of the square root by the eigenvalues of a symmetric product."""
    a, b = np.cov(made.T), np.cov(real.T)
    values, vectors = np.linalg.eigh(a)
    root = vectors @ np.diag(np.sqrt(values.clip(0))) @ vectors.T
    trace = np.sqrt(np.linalg.eigvalsh(root @ b @ root).clip(0)).sum()
    shift = ((made.mean(0) - real.mean(0)) ** 2).sum()
    return float(shift + np.trace(a) + np.trace(b) - 2 * trace)


def slow_kid(made: np.ndarray, real: np.ndarray) -> float:
    def kernel(x, y) -> float:
        return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    within = [
        sum(kernel(s[i], s[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        for s, n in ((made, len(made)), (real, len(real)))
    ]
    across = sum(kernel(x, y) for x in made for y in real) / (len(made) * len(real))
    return sum(within) - 2 * across


@pytest.mark.parametrize("count", [20, 13, 31])
def test_both_equal_the_slow_reference(count: int) -> None:
    rng = np.random.default_rng(count)
    made = rng.normal(size=(20, 4)) @ rng.normal(size=(4, 4))
    real = 0.5 + rng.normal(size=(count, 4))
    metric = FeatureMetrics("net")
    for part in (slice(0, 12), slice(12, 31)):
        metric.update(torch.from_numpy(made[part]), torch.from_numpy(real[part]))
    found = {name: float(value) for name, value in metric.compute().items()}
    assert found == pytest.approx(
        {"fid/net": slow_fid(made, real), "kid/net": slow_kid(made, real)}, rel=1e-6
    )


@pytest.mark.parametrize(("made", "real"), [(1, 1), (3, 1), (1, 3), (0, 3), (3, 0)])
def test_fewer_than_two_pictures_are_no_set(made: int, real: int) -> None:
    metric = FeatureMetrics("net")
    metric.update(torch.rand(made, 4), torch.rand(real, 4))
    with pytest.raises(DataError, match=f"more of each .*, got {made} made and {real} real"):
        metric.compute()
