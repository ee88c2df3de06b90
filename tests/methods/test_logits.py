import pytest
import torch
from presets import facts
from torch import nn

import anyteacher as at
from anyteacher import methods
from anyteacher.errors import AnyteacherError, ConfigError

EXPECTED = {
    "kd": {"loss": ("KD", {"temperature": 4.0}), "weight": 0.9},
    "standardized_kd": {"loss": ("StandardizedKD", {"temperature": 2.0}), "weight": 9.0},
    "dkd": {
        "loss": ("DKD", {"alpha": 1.0, "beta": 8.0, "temperature": 4.0, "ignore": -100}),
    },
    "dist": {
        "loss": (
            "DIST",
            {
                "temperature": 1.0,
                "inter": 1.0,
                "intra": 1.0,
                "scale": "squared",
                "eps": 1e-8,
                "gather": False,
            },
        )
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_it_sets(name):
    (link,) = getattr(methods, name)("a", "b")
    assert link.direction == "none"
    assert facts(link) == EXPECTED[name]


@pytest.mark.parametrize("direction", ["inverted", "traditional"])
@pytest.mark.parametrize("name", EXPECTED)
def test_projected_logits_are_refused(name, direction):
    loss = EXPECTED[name]["loss"][0]
    with pytest.raises(ConfigError, match=f"{loss} cannot be used with direction='{direction}'"):
        getattr(methods, name)("a", "b", direction=direction)


@pytest.mark.parametrize("name", EXPECTED)
def test_other_classes_are_refused_and_the_remedy_named(name):
    def model(classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(4, classes))

    loss = EXPECTED[name]["loss"][0]
    with pytest.raises(AnyteacherError, match=rf"{loss}.*5 .*7 .*direction='inverted'"):
        at.Distiller(
            model(5), model(7), getattr(methods, name)("1", "1"), example=torch.rand(2, 1, 2, 2)
        )


def test_the_label_of_what_has_none():
    assert methods.dkd("a", "b", ignore=255)[0].loss.ignore == 255
