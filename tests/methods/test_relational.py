import pytest
from presets import facts

from anyteacher import methods

WHOLE = {"gather": False}
EXPECTED = {
    "sp": [{"loss": ("SP", WHOLE), "weight": 3000.0}],
    "rkd": [
        {"loss": ("RKDDistance", WHOLE), "compare": "pooled", "weight": 25.0},
        {"loss": ("RKDAngle", WHOLE), "compare": "pooled", "weight": 50.0},
    ],
    "pkt": [{"loss": ("PKT", {"eps": 1e-7, **WHOLE}), "compare": "pooled", "weight": 30000.0}],
    "cc": [
        {
            "loss": ("CC", {"gamma": 0.4, "order": 2, "by": "kernel", **WHOLE}),
            "compare": "pooled",
            "weight": 100.0,
        }
    ],
    "cka": [{"loss": ("CKA", {"estimator": "biased", **WHOLE})}],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_it_sets(name):
    links = getattr(methods, name)(["a", "b"], ["c", "d"])
    assert [facts(link) for link in links] == EXPECTED[name]


def test_angles_count_twice_as_much_as_distances():
    distance, angle = methods.rkd("a", "b", weight=1.0, direction="none", of="big")
    assert (distance.weight, angle.weight) == (1.0, 2.0)
    assert (distance.name, angle.name) == ("rkd distance big a<-b", "rkd angle big a<-b")
    assert distance.direction == angle.direction == "none"
