import pytest

from anyteacher.errors import ConfigError
from anyteacher.losses import KD, MSE
from anyteacher.methods.base import halving, linked


def test_a_link_is_named_after_method_teacher_and_taps():
    settings = {"weight": 2.0, "compare": "pooled"}
    (link,) = linked("mine", ["a", "b"], ["c", "d"], MSE(), "traditional", of="big", **settings)
    assert link.name == "mine big a+b<-c+d"
    assert (link.direction, link.weight, link.of, link.compare) == (
        "traditional",
        2.0,
        "big",
        "pooled",
    )
    assert linked("mine", "a", "b", MSE(), "none", weight=1.0, of="")[0].name == "mine a<-b"


def test_a_direction_without_a_meaning_is_refused_at_once():
    with pytest.raises(ConfigError, match="KD cannot be used with direction='inverted'"):
        linked("mine", "a", "b", KD(), "inverted", weight=1.0, of="")


@pytest.mark.parametrize(
    ("taps", "weights"),
    [("a", [1.0]), (["a"], [1.0]), (["a", "b"], [0.5, 1.0]), (list("abcd"), [0.125, 0.25, 0.5, 1])],
)
def test_weights_halve(taps, weights):
    assert halving(taps) == weights
