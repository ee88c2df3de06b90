"""Settings, and what descending along the gradient does; the rest is in the contracts."""

from itertools import pairwise

import pytest
import torch

from anyteacher.errors import ConfigError
from anyteacher.regularizers import EffectiveRank, LogDet, NuclearNorm, TrailingEnergy
from anyteacher.spectral import log_det


def test_settings_reach_the_function():
    z = torch.randn(40, 10, dtype=torch.float64) + 1
    other = LogDet(0.5, centre=True)
    other.build(10)
    assert torch.equal(other(z), log_det(z, eps=0.5, centre=True))


@pytest.mark.parametrize("eps", [0.0, -1.0, float("inf"), float("nan")])
def test_an_impossible_eps_is_refused(eps):
    with pytest.raises(ConfigError, match="positive eps, got"):
        LogDet(eps)


@pytest.mark.parametrize(
    ("make", "spreads"),
    [
        (lambda: TrailingEnergy(2, fraction=True), False),
        (NuclearNorm, False),
        (LogDet, False),
        (EffectiveRank, True),
    ],
)
def test_gradient_descent_concentrates_the_spectrum_or_spreads_it(make, spreads):
    regularizer = make()
    regularizer.build(6)
    z = (torch.randn(30, 6) * torch.tensor([3.0, 2, 1, 1, 1, 1])).double().requires_grad_()
    optimizer = torch.optim.SGD([z], lr=1.0)
    evenness = []
    for _ in range(20):
        optimizer.zero_grad()
        regularizer(z).backward()
        optimizer.step()
        values = torch.linalg.svdvals(z.detach())
        evenness.append(float(values[2:].mean() / values[:2].mean()))
    pairs = pairwise(evenness)
    assert all(after > before if spreads else after < before for before, after in pairs)
