import math
import statistics

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as reference
from torch import Tensor

from anyteacher.errors import DataError
from anyteacher.metrics import EdgeMetrics, NormalMetrics, angles


def normals(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Targets, predictions that are off by all kinds of angles, and where they count."""
    generator = torch.Generator().manual_seed(seed)
    target = F.normalize(torch.randn(4, 3, 6, 7, generator=generator, dtype=torch.float64))
    noise = torch.randn(target.shape, generator=generator, dtype=torch.float64)
    known = torch.rand(4, 6, 7, generator=generator) < 0.7
    return F.normalize(target + 0.4 * noise), target, known


@pytest.mark.parametrize("seed", range(3))
def test_normal_metrics_equal_the_slow_reference(seed: int) -> None:
    prediction, target, known = normals(seed)
    off = []
    for b, y, x in known.nonzero().tolist():
        cosine = sum(p * g for p, g in zip(prediction[b, :, y, x], target[b, :, y, x], strict=True))
        off.append(math.degrees(math.acos(min(1.0, float(cosine)))))
    metric = NormalMetrics()
    metric.update(prediction, target, known)
    found = {name: float(value) for name, value in metric.compute().items()}
    # An even number of pixels may have anything between the two in the middle for a median.
    between = statistics.median_low(off) - 0.01, statistics.median_high(off) + 0.01
    assert between[0] <= found.pop("median_angle") <= between[1]
    assert found == pytest.approx(
        {
            "mean_angle": sum(off) / len(off),
            "within_11": sum(a < 11.25 for a in off) / len(off),
            "within_22": sum(a < 22.5 for a in off) / len(off),
            "within_30": sum(a < 30 for a in off) / len(off),
        },
        rel=1e-9,
    )


@pytest.mark.parametrize("degrees", [0.0, 1e-5, 0.3, 11.25, 90.0, 179.9999, 180.0])
def test_angles_are_exact_at_both_ends(degrees: float) -> None:
    turn = math.radians(degrees)
    a = torch.tensor([1.0, 0, 0], dtype=torch.float64).reshape(1, 3, 1, 1)
    b = torch.tensor([math.cos(turn), math.sin(turn), 0], dtype=torch.float64).reshape(1, 3, 1, 1)
    assert float(angles(a, b)) == pytest.approx(degrees, rel=1e-9, abs=1e-12)


def test_opposite_normals_have_a_place_in_the_histogram() -> None:
    up = torch.tensor([0.0, 1, 0]).reshape(1, 3, 1, 1)
    metric = NormalMetrics()
    metric.update(up, -up, torch.ones(1, 1, 1, dtype=torch.bool))
    found = metric.compute()
    assert float(found["mean_angle"]) == 180
    assert float(found["median_angle"]) == pytest.approx(180, abs=0.011)


@pytest.mark.parametrize("seed", range(3))
def test_edge_metrics_equal_scikit_learn_and_the_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges = rng.random((3, 1, 8, 9)) < 0.2
    # In the middle between thresholds, many of them equal.
    steps = np.clip(rng.integers(0, 40, edges.shape) + 15 * edges, 0, 49)
    scores = (20 * steps + 0.5) / 1000
    metric = EdgeMetrics()
    metric.update(torch.from_numpy(scores), torch.from_numpy(edges))
    found = {name: float(value) for name, value in metric.compute().items()}
    y, s = edges.flatten(), scores.flatten()
    assert found["average_precision"] == pytest.approx(reference.average_precision_score(y, s))
    slow = max(reference.f1_score(y, s >= threshold) for threshold in np.unique(s))
    assert found["f_measure"] == pytest.approx(slow)


def test_edge_metrics_at_both_ends_of_the_scale() -> None:
    edges = torch.tensor([True, False]).reshape(1, 1, 1, 2)
    for scores, expected in [((1.0, 0.0), (1.0, 1.0)), ((0.0, 1.0), (2 / 3, 0.5))]:
        metric = EdgeMetrics()
        metric.update(torch.tensor(scores).reshape(1, 1, 1, 2), edges)
        found = metric.compute()
        assert (float(found["f_measure"]), float(found["average_precision"])) == expected


def test_nothing_to_measure_is_an_error_that_says_so() -> None:
    vectors, none = torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool)
    metric = NormalMetrics()
    metric.update(vectors, vectors, none)
    with pytest.raises(DataError, match="no normal to measure"):
        metric.compute()
    metric = EdgeMetrics()
    metric.update(torch.rand(1, 1, 2, 2), none[None])
    with pytest.raises(DataError, match="no edge to measure"):
        metric.compute()
