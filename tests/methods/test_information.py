import pytest
from presets import facts

from anyteacher import methods
from anyteacher.errors import ConfigError

EXPECTED = {
    "vid": {
        "loss": ("VID", {"start": 5.0, "eps": 1e-5}),
        "projector": ("MLP", {"hidden": 0, "use_bias": True}),
    },
    "crd": {
        "loss": (
            "CRD",
            {
                "samples": 9,
                "features": 128,
                "negatives": 16384,
                "temperature": 0.07,
                "momentum": 0.5,
            },
        ),
        "compare": "pooled",
        "weight": 0.8,
    },
    "info_nce": {
        "loss": (
            "InfoNCE",
            {"features": 128, "temperature": 0.07, "anchor": "both", "gather": False},
        ),
        "compare": "pooled",
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_it_sets(name):
    given = {"samples": 9} if name == "crd" else {}
    (link,) = getattr(methods, name)(["a", "b"], ["c", "d"], **given)
    assert facts(link) == EXPECTED[name]


def test_a_memory_of_no_images_is_refused():
    with pytest.raises(ConfigError, match="samples"):
        methods.crd("a", "b", samples=0)
