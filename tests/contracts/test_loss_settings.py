"""What every loss must refuse to be set to, and every function to be called with."""

import inspect
import math
from typing import Literal, get_origin

import pytest
import torch

import anyteacher.losses
from anyteacher.errors import ConfigError
from anyteacher.hints import known_classes
from anyteacher.losses import LevelLoss, Loss

LOSSES = sorted(known_classes(Loss), key=lambda cls: cls.__name__)
PUBLIC = [getattr(anyteacher.losses, name) for name in anyteacher.losses.__all__]
FUNCTIONS = [x for x in PUBLIC if inspect.isfunction(x)]
LEVELS = {function for function in FUNCTIONS if function.__name__ in ("fsp", "kd_svd")}


def parameters(of):
    return inspect.signature(of).parameters.values()


def test_all_losses_are_looked_at():
    assert {cls for cls in PUBLIC if cls in LOSSES} == set(LOSSES)
    assert sum(issubclass(cls, LevelLoss) for cls in LOSSES) == len(LEVELS)


@pytest.mark.parametrize(
    ("cls", "name", "wrong"),
    [
        (cls, p.name, wrong)
        for cls in LOSSES
        for p in parameters(cls)
        if p.annotation in (int, float)
        for wrong in (math.nan, math.inf, -math.inf, *([1.5] if p.annotation is int else []))
    ],
)
def test_a_number_that_is_none_is_refused(cls, name, wrong, unchecked):
    needed = {p.name: 10 for p in parameters(cls) if p.default is p.empty}
    cls(**needed)
    with pytest.raises(ConfigError, match=rf"^{cls.__name__}\b.*[ =]{wrong}\b"):
        cls(**{**needed, name: wrong})


@pytest.mark.parametrize(
    ("owner", "option"),
    [
        (owner, p.name)
        for owner in (*LOSSES, *FUNCTIONS)
        for p in parameters(owner)
        if get_origin(p.annotation) is Literal
    ],
)
def test_an_option_that_is_unknown_is_refused(owner, option, unchecked):
    feature = torch.rand(4, 3, 4, 4)
    given = [feature] * 2 if owner in FUNCTIONS else []
    if owner in LEVELS:
        given = [[feature, feature]] * 2
    with pytest.raises(ConfigError, match=rf"^{owner.__name__}'s {option} cannot be '\?'. Known: "):
        owner(*given, **{option: "?"})
