"""What every metric must do. A metric that is not in the table fails the first test."""

import inspect
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from anyteacher import metrics
from anyteacher.metrics import (
    ClassificationMetrics,
    DepthMetrics,
    EdgeMetrics,
    FeatureMetrics,
    MultiLabelMetrics,
    NormalMetrics,
    Rules,
    SegmentationMetrics,
    TranslationMetrics,
)

IMAGES = 8


def depth() -> tuple[Tensor, ...]:
    """With holes, and an image where nothing is known."""
    target = 0.2 + 12 * torch.rand(IMAGES, 1, 5, 7)
    prediction = target * (0.4 * torch.randn_like(target)).exp()
    target[torch.rand_like(target) < 0.1] = torch.nan
    target[1] = 0.0
    return prediction, target


def pixels() -> tuple[Tensor, ...]:
    target = torch.randint(0, 5, (IMAGES, 3, 5))
    target[target == 4] = 255
    return torch.randint(0, 4, target.shape), target


def normals() -> tuple[Tensor, ...]:
    vectors = F.normalize(torch.randn(2, IMAGES, 3, 4, 5), dim=2)
    return vectors[0], vectors[1], torch.rand(IMAGES, 4, 5) < 0.5


# How to make it, and what it is given for a set of images.
TABLE: dict[type[Metric], tuple[Callable[[], Metric], Callable[[], tuple[Tensor, ...]]]] = {
    DepthMetrics: (lambda: DepthMetrics(Rules(0.5, 10.0)), depth),
    SegmentationMetrics: (lambda: SegmentationMetrics(classes=4), pixels),
    ClassificationMetrics: (
        lambda: ClassificationMetrics(classes=10),
        lambda: (torch.randn(IMAGES, 10), torch.randint(0, 10, (IMAGES,))),
    ),
    MultiLabelMetrics: (
        lambda: MultiLabelMetrics(classes=6),
        lambda: (torch.rand(IMAGES, 6), (torch.rand(IMAGES, 6) < 0.4).long()),
    ),
    NormalMetrics: (NormalMetrics, normals),
    EdgeMetrics: (
        EdgeMetrics,
        lambda: (torch.rand(IMAGES, 1, 4, 5), torch.rand(IMAGES, 1, 4, 5) < 0.3),
    ),
    FeatureMetrics: (
        lambda: FeatureMetrics("it"),
        lambda: (torch.randn(IMAGES, 3), 1 + 2 * torch.randn(IMAGES, 3)),
    ),
    TranslationMetrics: (
        TranslationMetrics,
        lambda: (torch.rand(IMAGES, 3, 12, 13), torch.rand(IMAGES, 3, 12, 13)),
    ),
}


def state_of(metric: Metric, *batches: tuple[Tensor, ...]) -> Metric:
    for batch in batches:
        metric.update(*batch)
    return metric


def test_the_table_has_every_metric() -> None:
    exported = [getattr(metrics, name) for name in metrics.__all__]
    classes = {found for found in exported if inspect.isclass(found) and issubclass(found, Metric)}
    assert classes == set(TABLE)


def gathered(ranks: list[Metric], whole: Metric) -> Metric:
    """What torchmetrics does with the states of all ranks: adds them, or joins them."""
    for name, start in whole._defaults.items():
        states = [getattr(rank, name) for rank in ranks]
        listed = isinstance(start, list)
        joined = [dim_zero_cat(state) for state in states] if listed else torch.stack(states)
        setattr(whole, name, whole._reductions[name](joined))
    whole._update_count = 1
    return whole


@pytest.mark.parametrize("metric", TABLE, ids=lambda cls: cls.__name__)
@settings(deadline=None, derandomize=True, max_examples=10)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 8), max_size=3), ranks=st.booleans())
def test_results_do_not_depend_on_batches_or_ranks(
    metric: type[Metric], seed: int, cuts: list[int], ranks: bool
) -> None:
    make, draw = TABLE[metric]
    torch.manual_seed(seed)
    inputs = draw()
    whole = state_of(make(), inputs).compute()
    edges = [0, *sorted(cuts), IMAGES]
    parts = [tuple(x[a:b] for x in inputs) for a, b in pairwise(edges) if b > a]
    if ranks:
        split = gathered([state_of(make(), part) for part in parts], make())
    else:
        split = state_of(make(), *parts)
    found = split.compute()
    assert found.keys() == whole.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, whole[name], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("metric", TABLE, ids=lambda cls: cls.__name__)
def test_states_keep_their_precision_and_begin_anew(metric: type[Metric]) -> None:
    make, draw = TABLE[metric]
    inputs = draw()
    measured = state_of(make(), inputs)
    first = measured.compute()
    measured.half().float()
    measured.reset()
    second = state_of(measured, inputs).compute()
    assert {name: float(value) for name, value in second.items()} == {
        name: float(value) for name, value in first.items()
    }
