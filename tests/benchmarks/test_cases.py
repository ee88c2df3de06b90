"""Every loss is timed, on features that it takes."""

import inspect
from dataclasses import replace

import pytest
from benchmarks.cases import CASES, SHAPES
from benchmarks.links import LinkAlone

from anyteacher import losses
from anyteacher.losses import Loss


def test_every_loss_has_a_case_under_its_name():
    public = {name: getattr(losses, name) for name in losses.__all__}
    concrete = {
        name
        for name, cls in public.items()
        if inspect.isclass(cls) and issubclass(cls, Loss) and not inspect.isabstract(cls)
    }
    assert set(CASES) == concrete
    for name, case in CASES.items():
        assert type(case.make()) is public[name]


def test_the_features_are_those_of_the_goal():
    assert str(SHAPES["map"]) == "map 14 x 14 x 256 from 1024, batch 64"
    assert str(SHAPES["tokens"]) == "tokens 197 x 192 from 768, batch 64"
    for case in CASES.values():
        if case.make().form != "images" and case.make().directions != ("none",):
            assert {"map", "tokens"} <= set(case.features)


@pytest.mark.parametrize(
    ("name", "features"), [(n, f) for n, c in CASES.items() for f in c.features]
)
def test_each_is_a_link_in_the_directions_that_it_has(name, features):
    case, shape = CASES[name], SHAPES[features]
    tiny = replace(
        shape, batch=4, channels=8, places=min(shape.places, 17 if features == "tokens" else 5)
    )
    alone = LinkAlone(tiny, link=case.link)
    unequal = alone.link.loss.equal_widths and shape.times > 1
    expected = [way for way in case.make().directions if not (way == "none" and unequal)]
    assert sorted(alone.connections) == sorted(expected)
    for way in alone.connections:
        assert alone.loss(way).isfinite()
