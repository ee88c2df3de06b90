import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from anyteacher.errors import ConfigError
from anyteacher.optimization import Optimization, trained


@given(warmup=st.floats(0, 0.99), steps=st.integers(1, 400))
def test_schedule_grows_peaks_and_falls_to_zero(warmup, steps):
    settings = Optimization(warmup=warmup)
    values = [settings.factor(step, steps) for step in range(steps + 1)]
    assert all(0 <= value <= 1 for value in values)
    top = round(warmup * steps)  # the first step at the full learning rate
    if top < steps:
        assert values[top] == 1.0
        assert values[-1] == pytest.approx(0, abs=1e-12)
    assert all(a < b for a, b in pairwise(values[:top]))
    assert all(a >= b for a, b in pairwise(values[top:]))
    # No jump is larger than a step of the warm-up or of the steepest place of the cosine.
    largest = max(1 / max(1, top), math.pi / 2 / max(1, steps - top))
    assert all(abs(a - b) <= largest + 1e-12 for a, b in pairwise(values))


def test_only_weights_decay_and_every_parameter_is_there():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    optimizer, schedule = Optimization(lr=0.5, weight_decay=0.1, warmup=0.5).build(
        dict(model.named_parameters()), {"0.weight", "3.weight"}, 8, "links."
    )
    decays = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert decays == {id(p): 0.1 if p.ndim > 1 else 0.0 for p in model.parameters()}
    assert schedule.get_last_lr() == [0.125, 0.125]


def test_a_model_of_biases_alone_has_one_group():
    optimizer, _ = Optimization().build({"bias": nn.Parameter(torch.zeros(3))}, [], 5, "links.")
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0]


@pytest.mark.parametrize(
    ("given", "rate", "decay"),
    [
        ({}, 0.5, 0.1),
        ({"projector_lr_factor": 0.1}, 0.05, 0.1),
        ({"projector_weight_decay": 3.0}, 0.5, 3),
    ],
)
def test_projectors_have_settings_of_their_own(given, rate, decay):
    parameters = {
        name: nn.Parameter(torch.zeros(2, 2))
        for name in ("student.w", "student.b", "links.0.w", "links.0.b")
    }
    weights = {"student.w", "links.0.w"}
    made = Optimization(lr=0.5, weight_decay=0.1, warmup=0, **given)
    optimizer, schedule = made.build(parameters, weights, 8, "links.")
    found = {
        name: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for name, p in parameters.items()
        if any(p is other for other in group["params"])
    }
    assert found == {
        "student.w": (0.5, 0.1),
        "student.b": (0.5, 0.0),
        "links.0.w": (rate, decay),
        "links.0.b": (rate, 0.0),
    }
    # A checkpoint of a run without these settings still fits.
    assert len(optimizer.param_groups) == 2 or given
    for _ in range(4):
        optimizer.step()
        schedule.step()
    rates = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[parameters["links.0.w"]] == pytest.approx(rate / 2)
    assert rates[parameters["student.b"]] == pytest.approx(0.25)


def test_each_part_is_limited_by_its_own_norm():
    parts = [nn.Linear(2, 1, bias=False) for _ in range(3)]
    for part, gradient in zip(parts, (3.0, 0.1), strict=False):
        part.weight.grad = torch.tensor([[gradient, 0.0]])
    Optimization(clip=0.0).limit(parts, None)
    assert parts[0].weight.grad.norm() == 3
    Optimization(clip=1.0).limit(parts, None)
    assert [float(part.weight.grad.norm()) for part in parts[:2]] == pytest.approx([1.0, 0.1])
    assert parts[2].weight.grad is None


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"lr": 0.0}, "lr must be positive"),
        ({"lr": math.nan}, "lr must be positive"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"clip": -1.0}, "clip"),
        ({"warmup": 1.0}, "warmup"),
        ({"ema": 1.0}, "ema"),
        ({"projector_lr_factor": 0.0}, "projector_lr_factor"),
        ({"projector_weight_decay": -0.1}, "projector_weight_decay"),
        ({"projector_weight_decay": math.inf}, "projector_weight_decay"),
    ],
)
def test_impossible_settings(settings, match):
    with pytest.raises(ConfigError, match=match):
        Optimization(**settings)


def test_what_is_trained_has_the_names_of_before_it_was_sharded():
    inner = nn.Linear(2, 2)
    inner.bias.requires_grad_(False)
    wrapped = nn.ModuleDict({"_fsdp_wrapped_module": inner})
    model = nn.ModuleDict({"head": wrapped})
    assert trained(model) == {"head.weight": inner.weight}
