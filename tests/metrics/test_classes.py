import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import Tensor
from torchmetrics import Metric

from anyteacher.errors import DataError
from anyteacher.metrics import ClassificationMetrics, MultiLabelMetrics, SegmentationMetrics


def measured(metric: Metric, prediction: Tensor, target: Tensor) -> Metric:
    metric.update(prediction, target)
    return metric


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


def test_multilabel_metrics_rank_by_logits_that_have_one_probability_in_single_precision() -> None:
    logits = torch.tensor([[20.0], [30.0], [25.0]])
    assert (logits.sigmoid() == 1).all()
    target = torch.tensor([[0], [1], [0]])
    assert measured(MultiLabelMetrics(classes=1), logits, target).compute()["map"] == 1
    assert measured(MultiLabelMetrics(classes=1), -logits, target).compute()["map"] == 1 / 3
    mixed = torch.cat([logits, logits / 40], dim=1)  # classes are ranked each by itself
    both = torch.cat([target, target], dim=1)
    assert measured(MultiLabelMetrics(classes=2), mixed, both).compute()["map"] == 1


def test_multilabel_metrics_of_a_single_class_that_is_shown() -> None:
    target = torch.tensor([[0, 1], [0, 0], [0, 1]])
    scores = torch.tensor([[0.9, 0.2], [0.1, 0.6], [0.5, 0.8]])
    found = measured(MultiLabelMetrics(classes=2), scores, target).compute()["map"]
    assert float(found) == pytest.approx((1 + 2 / 3) / 2)


def test_nothing_to_measure_is_an_error_that_says_so() -> None:
    pixels = torch.zeros(2, 3, 3).long()
    with pytest.raises(DataError, match="255"):
        measured(SegmentationMetrics(classes=3), pixels, torch.full_like(pixels, 255)).compute()
    empty = torch.zeros(0, 3)
    with pytest.raises(DataError, match="no image"):
        measured(ClassificationMetrics(classes=3), empty, empty[:, 0].long()).compute()
    metric = MultiLabelMetrics(classes=3)
    with pytest.warns(UserWarning, match="before"), pytest.raises(DataError, match="no image"):
        metric.compute()
    with pytest.raises(DataError, match="measure: no image shows"):
        measured(metric, torch.rand(2, 3), torch.zeros(2, 3).long()).compute()
