import pytest
import torch
import torch.nn.functional as F
from presets import facts

from anyteacher import losses, methods
from anyteacher.connection import Connection
from anyteacher.level import Source

WHOLE = {"gather": False}
UNIT = {"student_norm": "l2", "teacher_norm": "l2"}
EXPECTED = {
    "sp": [{"loss": ("SP", WHOLE), "weight": 3000.0}],
    "rkd": [
        {"loss": ("RKDDistance", WHOLE), "compare": "pooled", "weight": 25.0, **UNIT},
        {"loss": ("RKDAngle", WHOLE), "compare": "pooled", "weight": 50.0, **UNIT},
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


def test_rkd_without_a_projector_is_its_authors_on_unit_vectors():
    """Their code normalises the embeddings before both criteria."""
    torch.manual_seed(0)
    scale = 1 + 9 * torch.rand(8, 1)
    student, teacher = torch.randn(8, 5) * scale, torch.randn(8, 7)
    distance, angle = methods.rkd("a", "b", weight=1.0, direction="none")
    found = [
        Connection(link, Source(student, (1, 1)), Source(teacher, (1, 1)))(
            Source(student, (1, 1)), Source(teacher, (1, 1))
        )
        for link in (distance, angle)
    ]
    unit = F.normalize(student), F.normalize(teacher)
    torch.testing.assert_close(found[0], losses.rkd_distance(*unit))
    torch.testing.assert_close(found[1], losses.rkd_angle(*unit))
