import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference
from torch import Tensor
from torchmetrics import Metric

from anyteacher.errors import DataError
from anyteacher.metrics import (
    DEPTH_NAMES,
    ClassificationMetrics,
    DepthMetrics,
    MultiLabelMetrics,
    SegmentationMetrics,
    valid_depth,
)

NEAR, FAR = 0.5, 10.0


def slow_depth_metrics(predictions: Tensor, targets: Tensor) -> dict[str, float]:
    """Pixel by pixel in Python floats: each image, then the mean over images."""
    images = []
    for prediction, target in zip(predictions, targets, strict=True):
        pairs = [
            (min(max(p, NEAR), FAR), g)
            for p, g in zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True)
            if math.isfinite(g) and NEAR <= g <= FAR
        ]
        if not pairs:
            continue
        n = len(pairs)
        logs = [math.log(p) - math.log(g) for p, g in pairs]
        numbers = {
            "abs_rel": sum(abs(p - g) / g for p, g in pairs) / n,
            "sq_rel": sum((p - g) ** 2 / g for p, g in pairs) / n,
            "rmse": math.sqrt(sum((p - g) ** 2 for p, g in pairs) / n),
            "rmse_log": math.sqrt(sum(d * d for d in logs) / n),
            "log10": sum(abs(math.log10(p / g)) for p, g in pairs) / n,
            "silog": 100 * math.sqrt(sum(d * d for d in logs) / n - (sum(logs) / n) ** 2),
        }
        for k in (1, 2, 3):
            hits = sum(max(p / g, g / p) < 1.25**k for p, g in pairs)
            numbers[f"delta{k}"] = hits / n
        images.append(numbers)
    return {name: sum(image[name] for image in images) / len(images) for name in DEPTH_NAMES}


def depth_set(seed: int, count: int = 5) -> tuple[Tensor, Tensor]:
    """Depths with holes of every kind, one image with none known, and wild predictions."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 1, 5, 7)
    target = 0.2 + 12 * torch.rand(shape, generator=generator)
    prediction = target * (0.4 * torch.randn(shape, generator=generator)).exp()
    holes = torch.randint(0, 12, shape, generator=generator)
    for kind, value in enumerate([0.0, math.nan, math.inf, -1.0]):
        target[holes == kind] = value
    prediction[holes == 5] = -3.0
    target[1] = 0.0
    return prediction, target


def state_of(metric: Metric, *batches: tuple[Tensor, Tensor]) -> Metric:
    for batch in batches:
        metric.update(*batch)
    return metric


@pytest.mark.parametrize("seed", range(5))
def test_depth_metrics_equal_the_slow_reference(seed: int) -> None:
    prediction, target = depth_set(seed)
    metric = state_of(DepthMetrics(min_depth=NEAR, max_depth=FAR), (prediction, target))
    found = {name: float(value) for name, value in metric.compute().items()}
    assert found == pytest.approx(slow_depth_metrics(prediction, target), rel=1e-9, abs=1e-9)


def test_depth_metrics_by_hand() -> None:
    target = torch.tensor([[[[2.0, 4.0, 0.0]]]])
    prediction = torch.tensor([[[[3.0, 4.0, 9.0]]]])
    metric = state_of(DepthMetrics(min_depth=0.1, max_depth=10), (prediction, target))
    found = {name: float(value) for name, value in metric.compute().items()}
    log = math.log(1.5)
    assert found == pytest.approx(
        {
            "abs_rel": 0.25,
            "sq_rel": 0.25,
            "rmse": math.sqrt(0.5),
            "rmse_log": log / math.sqrt(2),
            "log10": math.log10(1.5) / 2,
            "silog": 100 * log / 2,
            "delta1": 0.5,
            "delta2": 1.0,
            "delta3": 1.0,
        }
    )


@settings(deadline=None, derandomize=True, max_examples=20)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 8), max_size=3), ranks=st.booleans())
def test_results_do_not_depend_on_batches_or_ranks(seed: int, cuts: list[int], ranks: bool) -> None:
    depth = depth_set(seed, count=8)
    torch.manual_seed(seed)
    labels = torch.randint(0, 4, (8, 3, 5)), torch.randint(0, 5, (8, 3, 5))
    labels[1][labels[1] == 4] = 255
    scores = torch.randn(8, 10), torch.randint(0, 10, (8,))
    for make, (prediction, target) in [
        (lambda: DepthMetrics(min_depth=NEAR, max_depth=FAR), depth),
        (lambda: SegmentationMetrics(classes=4), labels),
        (lambda: ClassificationMetrics(classes=10), scores),
    ]:
        whole = state_of(make(), (prediction, target)).compute()
        edges = [0, *sorted(cuts), 8]
        parts = [(prediction[a:b], target[a:b]) for a, b in pairwise(edges) if b > a]
        if ranks:  # what torchmetrics does after gathering: the states of the ranks are added
            others = [state_of(make(), part) for part in parts]
            split = make()
            split.update(prediction[:0], target[:0])
            for name in split._defaults:
                gathered = torch.stack([getattr(other, name) for other in others])
                setattr(split, name, split._reductions[name](gathered))
        else:
            split = state_of(make(), *parts)
        for name, value in split.compute().items():
            torch.testing.assert_close(value, whole[name], rtol=1e-12, atol=1e-13)


def test_depth_sums_stay_exact_over_many_images() -> None:
    """In float32 the sum would stand still long before."""
    metric = DepthMetrics(min_depth=0.1, max_depth=10)
    metric.update(torch.full((1, 1, 1, 1), 1.1), torch.ones(1, 1, 1, 1))
    metric.total += 1e8 * 0.1
    metric.images += 10**8
    before = float(metric.total[0])
    metric.update(torch.full((1, 1, 1, 1), 1.1), torch.ones(1, 1, 1, 1))
    assert float(metric.total[0]) - before == pytest.approx(0.1, rel=1e-4)
    metric.half().float()
    assert metric.total.dtype == torch.float64


def test_nothing_to_measure_is_an_error_that_says_so() -> None:
    depth = torch.zeros(2, 1, 3, 3)
    metric: Metric = state_of(DepthMetrics(min_depth=0.1, max_depth=10), (depth, depth))
    with pytest.raises(DataError, match=r"0\.1 to 10"):
        metric.compute()
    labels = torch.zeros(2, 3, 3).long(), torch.full((2, 3, 3), 255)
    metric = state_of(SegmentationMetrics(classes=3), labels)
    with pytest.raises(DataError, match="255"):
        metric.compute()
    empty = torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)
    metric = state_of(ClassificationMetrics(classes=3), empty)
    with pytest.raises(DataError, match="no image"):
        metric.compute()
    metric = MultiLabelMetrics(classes=3)
    with pytest.warns(UserWarning, match="before"), pytest.raises(DataError, match="no image"):
        metric.compute()
    with pytest.raises(DataError, match="measure: no image shows"):
        state_of(metric, (torch.rand(2, 3), torch.zeros(2, 3).long())).compute()


def test_valid_depth_takes_the_ends() -> None:
    depth = torch.tensor([0.0, 0.5, 1.0, 10.0, 10.001, -1.0, math.nan, math.inf])
    assert valid_depth(depth, 0.5, 10.0).tolist() == [False, True, True, True] + [False] * 4


@pytest.mark.parametrize("seed", range(3))
def test_segmentation_metrics_equal_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prediction, target = rng.integers(0, 4, (6, 5, 7)), rng.integers(0, 4, (6, 5, 7))
    target[rng.random(target.shape) < 0.2] = 255
    # Classes 4 and 5 never occur; class 3 only in the predictions.
    target[target == 3] = 1
    metric = SegmentationMetrics(classes=6)
    metric.update(torch.from_numpy(prediction), torch.from_numpy(target))
    found = metric.compute()
    known = target != 255
    y, x = target[known], prediction[known]
    assert float(found["pixel_accuracy"]) == pytest.approx(reference.accuracy_score(y, x))
    assert float(found["miou"]) == pytest.approx(
        reference.jaccard_score(y, x, average="macro", labels=range(4), zero_division=0)
    )


@pytest.mark.parametrize("classes", [3, 5, 6, 12])
def test_classification_metrics_equal_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    scores, labels = rng.normal(size=(50, classes)), rng.integers(0, classes, 50)
    metric = ClassificationMetrics(classes=classes)
    metric.update(torch.from_numpy(scores), torch.from_numpy(labels))
    found = {name: float(value) for name, value in metric.compute().items()}
    ranks = (1, 5) if classes > 5 else (1,)
    assert found == pytest.approx(
        {
            f"top{k}": reference.top_k_accuracy_score(labels, scores, k=k, labels=range(classes))
            for k in ranks
        }
    )


def slow_average_precision(scores: list[float], present: list[int]) -> float:
    """Of one class: at the score of each image that shows it, the share of such images so far."""
    shares = []
    for score, y in zip(scores, present, strict=True):
        if y:
            above = [z for s, z in zip(scores, present, strict=True) if s >= score]
            shares.append(sum(above) / len(above))
    return sum(shares) / len(shares)


@pytest.mark.parametrize("seed", range(3))
def test_multilabel_metrics_equal_the_slow_reference_and_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 8, (40, 5)) / 8  # many are equal
    target = (rng.random((40, 5)) < [0.5, 0.1, 0.9, 0.3, 0.0]).astype(int)
    target[0, :4], target[:, 2] = 1, 1  # class 4 is never there, class 2 always
    metric: Metric = MultiLabelMetrics(classes=5)
    for part in (slice(0, 7), slice(7, 8), slice(8, 40)):
        metric.update(torch.from_numpy(scores[part]), torch.from_numpy(target[part]))
    found = float(metric.compute()["map"])
    pairs = zip(scores.T[:4].tolist(), target.T[:4].tolist(), strict=True)
    slow = [slow_average_precision(s, t) for s, t in pairs]
    assert found == pytest.approx(sum(slow) / 4)
    expected = reference.average_precision_score(target[:, :4], scores[:, :4], average="macro")
    assert found == pytest.approx(expected)


def test_multilabel_metrics_of_a_single_class_that_is_shown() -> None:
    target = torch.tensor([[0, 1], [0, 0], [0, 1]])
    scores = torch.tensor([[0.9, 0.2], [0.1, 0.6], [0.5, 0.8]])
    found = state_of(MultiLabelMetrics(classes=2), (scores, target)).compute()["map"]
    assert float(found) == pytest.approx((1 + 2 / 3) / 2)
