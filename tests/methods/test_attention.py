import pytest
from presets import facts

from anyteacher import methods

EXPECTED = {
    "at": {"loss": ("AT", {"distance": "squared"}), "weight": 1000.0},
    "cwd": {"loss": ("CWD", {"temperature": 4.0}), "weight": 3.0},
    "ickd": {"loss": ("ICKD", {"unit": "rows", "divisor": "images"}), "weight": 2.5},
    "nst": {"loss": ("NST", {}), "weight": 50.0},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_it_sets(name):
    (link,) = getattr(methods, name)(["a", "b"], ["c", "d"])
    assert facts(link) == EXPECTED[name]
