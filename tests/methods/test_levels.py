import pytest
from presets import facts

from anyteacher import methods
from anyteacher.errors import ConfigError

EXPECTED = {
    "fsp": {"loss": ("FSP", {"pool": "max", "entries": "mean"})},
    "kd_svd": {"loss": ("KDSVD", {"vectors": 1, "spare": 3, "beta": 8.0})},
    "reviewkd": {"loss": ("HCL", {}), "projector": ("ABF", {"width": 0})},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_it_sets(name):
    (link,) = getattr(methods, name)(["a", "b"], ["c", "d"])
    assert facts(link) == EXPECTED[name]


@pytest.mark.parametrize("name", ["fsp", "kd_svd"])
def test_relations_of_levels_need_two(name):
    with pytest.raises(ConfigError, match="Give both sides a list of taps"):
        getattr(methods, name)("a", "b")
