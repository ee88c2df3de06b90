"""What is common to links; whole runs with it are in `test_experiment.py`."""

import pytest

from anyteacher.distillation import Distillation
from anyteacher.errors import ConfigError
from anyteacher.link import Link
from anyteacher.projectors import MLP, Linear
from anyteacher.regularizers import TrailingEnergy


def test_common_settings_of_the_links():
    links = [Link("a", "b", weight=2.0), Link("c", "d", direction="none")]
    both = Distillation(links, weight=0.5).resolved()
    assert [(link.weight, link.direction) for link in both] == [(1.0, "inverted"), (0.5, "none")]
    traditional = Distillation(links, direction="traditional").resolved()
    assert {link.direction for link in traditional} == {"traditional"}
    with pytest.raises(ConfigError, match="weight of distillation"):
        Distillation(weight=-1.0)
    with pytest.raises(ConfigError, match=r"observe_every counts training steps, .* got -1"):
        Distillation(observe_every=-1)


def test_what_is_compared_and_how_it_is_normalised_are_common_to_links_to_a_teacher():
    links = [Link("a", "b"), Link("a", loss=TrailingEnergy(2))]
    settings = {"compare": "pooled", "student_norm": "layer", "teacher_norm": "batch"}
    taught, alone = Distillation(links, **settings).resolved()
    assert {name: getattr(taught, name) for name in settings} == settings
    assert alone == links[1]
    (by_method,) = Distillation(links[:1], method="fitnet", **settings).resolved()
    assert {name: getattr(by_method, name) for name in settings} == settings


def test_a_projector_is_common_to_links_to_a_teacher():
    links = [Link("a", "b"), Link("a", loss=TrailingEnergy(2))]
    taught, alone = Distillation(links, projector=MLP(hidden=3)).resolved()
    assert taught.projector.hidden == 3
    assert alone == links[1]
    (by_method,) = Distillation(links[:1], method="fitnet", projector=MLP()).resolved()
    assert isinstance(by_method.projector, MLP)
    assert isinstance(Distillation(links[:1]).resolved()[0].projector, Linear)
