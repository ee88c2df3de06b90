import math
from typing import Literal

import pytest
import torch
from PIL import Image
from torch import Tensor

from anyteacher.errors import ConfigError, DataError
from anyteacher.facts import Facts
from anyteacher.images import read_depth
from anyteacher.tasks.depth import Depth, log_l1, scale_invariant


def example(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Output in log-depth, and a target with holes, in float64."""
    generator = torch.Generator().manual_seed(seed)
    target = 0.5 + 8 * torch.rand(3, 1, 4, 6, generator=generator, dtype=torch.float64)
    output = 1 + torch.randn(3, 1, 4, 6, generator=generator, dtype=torch.float64)
    target[0, 0, 0, :3] = torch.tensor([0.0, math.nan, math.inf])
    target[2, 0, 1] = 99.0
    target[2, 0, 2] = 0.05
    return output, target


def slow_losses(output: Tensor, target: Tensor, invariance: float) -> tuple[float, float]:
    absolute, invariant = [], []
    for image, truth in zip(output, target, strict=True):
        d = [
            y - math.log(g)
            for y, g in zip(image.flatten().tolist(), truth.flatten().tolist(), strict=True)
            if math.isfinite(g) and 0.1 <= g <= 20
        ]
        n = len(d)
        absolute.append(sum(abs(x) for x in d) / n)
        # Eigen et al., equation 4: sum(d^2)/n - lambda/n^2 * sum(d)^2
        invariant.append(sum(x * x for x in d) / n - invariance / n**2 * sum(d) ** 2)
    return sum(absolute) / len(absolute), sum(invariant) / len(invariant)


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (0.7, 3.0)])
def test_loss_equals_the_slow_reference(weights: tuple[float, float]) -> None:
    output, target = example()
    absolute, invariant = slow_losses(output, target, 0.5)
    loss = Depth(log_l1=weights[0], scale_invariant=weights[1]).loss(output, {"depth": target})
    expected = weights[0] * absolute + weights[1] * invariant
    assert float(loss) == pytest.approx(expected, rel=1e-12)


def test_scale_invariant_at_its_ends() -> None:
    log_prediction, target = example()
    valid = target.isfinite() & (target > 0)
    log_target = torch.where(valid, target, 1.0).log()
    shifted = log_prediction + torch.tensor([1.0, -2.0, 5.0]).reshape(3, 1, 1, 1)
    at_one = scale_invariant(log_prediction, log_target, valid, invariance=1)
    torch.testing.assert_close(
        scale_invariant(shifted, log_target, valid, invariance=1), at_one, rtol=1e-12, atol=0
    )
    assert scale_invariant(log_target + 3, log_target, valid, invariance=1).abs() < 1e-12
    assert float(scale_invariant(log_target + 3, log_target, valid)) == pytest.approx(4.5)
    assert float(log_l1(log_target + 3, log_target, valid)) == pytest.approx(3.0)


@pytest.mark.parametrize("output_is", ["log", "depth"])
def test_gradient_is_that_of_finite_differences(output_is: Literal["log", "depth"]) -> None:
    output, target = example()
    if output_is == "depth":
        output[0, 0, 0, 3:] = torch.tensor([0.05, 0.0, -2.0])  # below min_depth and below zero
    task = Depth(output_is=output_is)
    assert torch.autograd.gradcheck(
        lambda x: task.loss(x, {"depth": target}), output.requires_grad_()
    )


def test_unknown_pixels_have_no_gradient_and_do_not_count() -> None:
    output, target = example()
    Depth().loss(output.requires_grad_(), {"depth": target}).backward()
    known = target.isfinite() & (target > 0.1) & (target < 20)
    assert torch.equal(output.grad != 0, known)


def test_both_meanings_of_the_output_agree() -> None:
    output, target = example()
    output = output.clamp(math.log(0.1), math.log(20))
    by_log, by_depth = Depth(), Depth(output_is="depth")
    torch.testing.assert_close(
        by_log.loss(output, {"depth": target}), by_depth.loss(output.exp(), {"depth": target})
    )
    torch.testing.assert_close(
        by_log.prediction(output, (4, 6)), by_depth.prediction(output.exp(), (4, 6))
    )


def test_depth_output_below_zero_still_learns() -> None:
    output = torch.full((1, 1, 2, 2), -5.0, requires_grad=True)
    loss = Depth(output_is="depth").loss(output, {"depth": torch.ones(1, 1, 2, 2)})
    loss.backward()
    assert loss.isfinite()
    assert (output.grad < 0).all()  # more output is better


def test_prediction_is_clamped_and_interpolates_logs() -> None:
    task = Depth(min_depth=0.5, max_depth=8)
    output = torch.tensor([[[[-100.0, 0.0, 100.0]]]])
    assert task.prediction(output, (1, 3)).flatten().tolist() == [0.5, 1.0, 8.0]
    between = task.prediction(torch.tensor([[[[0.0, 2.0]]]]).log1p(), (1, 4))
    geometric = math.exp(0.25 * math.log(3))
    assert float(between[0, 0, 0, 1]) == pytest.approx(geometric)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output_is": "disparity"}, "'disparity'"),
        ({"min_depth": 0}, "0 < min_depth < max_depth"),
        ({"min_depth": 5, "max_depth": 2}, "max_depth is 2"),
        ({"max_depth": math.inf}, "inf"),
        ({"log_l1": 0, "scale_invariant": 0}, "one must be positive"),
        ({"log_l1": -1}, "must not be negative"),
        ({"log_l1": math.nan}, "must not be negative or infinite.*nan"),
        ({"scale_invariant": math.nan}, "must not be negative or infinite.*nan"),
        ({"scale_invariant": math.inf}, "must not be negative or infinite.*inf"),
        ({"protocol": "nyuv2"}, "No protocol 'nyuv2'. Did you mean nyu"),
        ({"protocol": "kitti"}, "to 80 m, and .* to 20 m. Set max_depth to 80"),
    ],
)
def test_impossible_settings(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Depth(**settings)


@pytest.mark.parametrize(("max_depth", "scale"), [(20.0, 1000), (80.0, 256)])
def test_save(tmp_path, max_depth: float, scale: int) -> None:
    task = Depth(max_depth=max_depth)
    prediction = task.prediction(torch.linspace(-3, 5, 35).reshape(1, 1, 5, 7), (5, 7))[0]
    depth, colors = task.save(prediction, tmp_path / "photo")
    assert [depth.name, colors.name] == ["photo_depth.png", "photo_depth_color.png"]
    assert (read_depth(depth) - prediction).abs().max() <= 0.5 / scale + 1e-6
    with Image.open(depth) as picture:
        assert picture.info["depth_scale"] == str(scale)
    with Image.open(colors) as picture:
        assert picture.mode == "RGB"


def test_data_with_another_range_or_target_are_refused():
    Depth(max_depth=80).check_data(Facts(("depth",), max_depth=80.0))
    Depth().check_data(Facts())
    with pytest.raises(ConfigError, match=r"max_depth 20 m, and that of the data to 80 m"):
        Depth().check_data(Facts(("depth",), max_depth=80.0))
    with pytest.raises(ConfigError, match=r"learns from 'depth', which the data does not have"):
        Depth().check_data(Facts(("label",)))


@pytest.mark.parametrize(("protocol", "cap"), [("nyu", 10), ("kitti", 80)])
def test_protocols_change_nothing_of_what_is_learned(
    protocol: Literal["nyu", "kitti"], cap: float
) -> None:
    """Nor the slope of an output in metres below 0.1: from a millimetre on it would be steep."""
    target = torch.full((1, 1, 4, 6), cap / 2.0)
    target[..., 0, :] = 0.05
    output = torch.linspace(-1, 1, 24).reshape(1, 1, 4, 6)
    slopes = []
    for task in (Depth(output_is="depth", max_depth=80, protocol=p) for p in ("", protocol)):
        given = output.clone().requires_grad_()
        task.loss(given, {"depth": target}).backward()
        slopes.append(given.grad)
    assert torch.equal(*slopes)


@pytest.mark.parametrize(("protocol", "cap"), [("nyu", 10), ("kitti", 80)])
def test_protocols_change_the_metrics_and_not_the_loss(
    protocol: Literal["nyu", "kitti"], cap: float
) -> None:
    plain, task = Depth(max_depth=80), Depth(max_depth=80, protocol=protocol)
    target = torch.full((1, 1, 24, 32), 5.0)
    target[..., 12, 16] = 60.0  # in the middle, beyond the 10 m of one of them
    output = target.log()
    output[..., :2, :] = 0.0  # at the border, which no protocol counts
    batch = {"depth": target}
    assert task.loss(output, batch) == plain.loss(output, batch)
    found = {}
    for one in (plain, task):
        metrics = one.metrics()
        one.update(metrics, output + math.log(1.1) * (target > 10), batch)
        found[one] = float(metrics.compute()["abs_rel"])
    assert found[plain] > 0.01
    assert found[task] == pytest.approx(0 if cap == 10 else 0.1 / 14 / 29, rel=0.2, abs=1e-9)


@pytest.mark.parametrize("protocol", ["nyu", "kitti"])
def test_protocols_measure_from_a_millimetre_on(protocol: Literal["nyu", "kitti"]) -> None:
    task = Depth(max_depth=80, protocol=protocol)
    target = torch.linspace(0.002, 0.09, 480).reshape(1, 1, 20, 24)
    metrics = task.metrics()
    task.update(metrics, target.log(), {"depth": target})
    assert metrics.compute()["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert task.prediction(target.log(), (20, 24)).min() == pytest.approx(0.002)
    assert Depth().prediction(target.log(), (20, 24)).min() == pytest.approx(0.1)


def test_nothing_to_measure_says_the_range_of_the_protocol() -> None:
    task = Depth(max_depth=80, protocol="nyu")
    metrics = task.metrics()
    task.update(metrics, torch.zeros(1, 1, 24, 32), {"depth": torch.full((1, 1, 24, 32), 60.0)})
    with pytest.raises(DataError, match=r"from 0\.001 to 10 m"):
        metrics.compute()
