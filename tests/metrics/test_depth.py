import math

import pytest
import torch
from torch import Tensor

from anyteacher.errors import DataError
from anyteacher.metrics import DEPTH_NAMES, RULES, DepthMetrics, Rules, valid_depth

NEAR, FAR = 0.5, 10.0


def measured(
    prediction: Tensor, target: Tensor, near: float = NEAR, far: float = FAR
) -> DepthMetrics:
    metric = DepthMetrics(Rules(near, far))
    metric.update(prediction, target)
    return metric


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


@pytest.mark.parametrize("seed", range(5))
def test_depth_metrics_equal_the_slow_reference(seed: int) -> None:
    prediction, target = depth_set(seed)
    metric = measured(prediction, target)
    found = {name: float(value) for name, value in metric.compute().items()}
    assert found == pytest.approx(slow_depth_metrics(prediction, target), rel=1e-9, abs=1e-9)


def test_depth_metrics_by_hand() -> None:
    target = torch.tensor([[[[2.0, 4.0, 0.0]]]])
    prediction = torch.tensor([[[[3.0, 4.0, 9.0]]]])
    metric = measured(prediction, target, 0.1, 10)
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


def test_depth_sums_stay_exact_over_many_images() -> None:
    """In float32 the sum would stand still long before."""
    metric = DepthMetrics(Rules(0.1, 10))
    metric.update(torch.full((1, 1, 1, 1), 1.1), torch.ones(1, 1, 1, 1))
    metric.total += 1e8 * 0.1
    metric.images += 10**8
    before = float(metric.total[0])
    metric.update(torch.full((1, 1, 1, 1), 1.1), torch.ones(1, 1, 1, 1))
    assert float(metric.total[0]) - before == pytest.approx(0.1, rel=1e-4)
    metric.half().float()
    assert metric.total.dtype == torch.float64


def test_valid_depth_takes_the_ends() -> None:
    depth = torch.tensor([0.0, 0.5, 1.0, 10.0, 10.001, -1.0, math.nan, math.inf])
    assert valid_depth(depth, 0.5, 10.0).tolist() == [False, True, True, True] + [False] * 4


def test_nothing_to_measure_is_an_error_that_says_so() -> None:
    depth = torch.zeros(2, 1, 3, 3)
    with pytest.raises(DataError, match=r"0\.1 to 10"):
        measured(depth, depth, 0.1, 10).compute()


# Rows and columns as evaluation scripts give them for the usual sizes: NYUv2's and KITTI's. At 370
# rows 0.99189189 of them is 366.9999993, which is cut to 366.
CROPS = [
    ("nyu", (480, 640), (45, 471, 41, 601), 10.0),
    ("nyu", (240, 320), (22, 235, 20, 300), 10.0),
    ("nyu", (1440, 1920), (135, 1413, 123, 1803), 10.0),
    ("kitti", (375, 1242), (153, 371, 44, 1197), 80.0),
    ("kitti", (370, 1224), (151, 366, 43, 1180), 80.0),
    ("kitti", (374, 1238), (152, 370, 44, 1193), 80.0),
    ("kitti", (376, 1241), (153, 372, 44, 1196), 80.0),
    ("kitti", (370, 1226), (151, 366, 44, 1181), 80.0),
    ("kitti", (352, 1216), (143, 349, 43, 1172), 80.0),
]


@pytest.mark.parametrize(("protocol", "size", "crop", "cap"), CROPS)
def test_protocols_measure_a_part_of_the_picture_and_of_the_depths(
    protocol: str, size: tuple[int, int], crop: tuple[int, int, int, int], cap: float
) -> None:
    top, bottom, left, right = crop
    target = 1e-3 + 1.5 * cap * torch.rand(1, 1, *size)
    prediction = target * 1.2
    prediction[..., :top, :] = prediction[..., bottom:, :] = 0.5
    prediction[..., :left] = prediction[..., right:] = 0.5
    metric = DepthMetrics(RULES[protocol])
    metric.update(prediction, target)
    found = {name: float(value) for name, value in metric.compute().items()}
    inside = target[..., top:bottom, left:right]
    inside = inside[inside <= cap].double()
    error = (1.2 * inside).clamp(max=cap) - inside
    assert found["rmse"] == pytest.approx(float(error.square().mean().sqrt()), rel=1e-5)
    assert found["delta1"] == 1  # nothing outside was counted, and nothing is off by more


def test_a_part_of_the_picture_is_measured_where_the_picture_has_it() -> None:
    """A view of half the picture's size that misses its left and its lower end."""
    target = torch.rand(2, 1, 480, 640) * 5 + 1
    rows, columns = RULES["nyu"].part(480, 640)
    marked = torch.zeros_like(target)
    marked[..., rows, columns] = target[..., rows, columns]
    view = target[..., :400:2, 100::2]
    known = marked[..., :400:2, 100::2]
    metric, plain = DepthMetrics(RULES["nyu"]), DepthMetrics(Rules(1e-3, 10.0))
    extent = torch.tensor([[0, -50, 240, 320]] * 2)
    metric.update(view * 1.5, view, extent)
    plain.update(view * 1.5, known)
    for name, value in plain.compute().items():
        assert metric.compute()[name] == pytest.approx(float(value), rel=1e-2), name
    whole = DepthMetrics(RULES["nyu"])
    whole.update(view * 1.5, view)
    assert float(whole.compute()["rmse"]) != pytest.approx(float(plain.compute()["rmse"]))
