import pytest
import torch
from presets import facts

from anyteacher import losses, methods
from anyteacher.errors import ConfigError
from anyteacher.link import Link

BIASED = ("Linear", {"use_bias": True})
TWO = ["a", "b"]

EXPECTED = {
    "inverted": {"student_norm": "batch", "teacher_norm": "batch", "weight": 0.1},
    "fitnet": {"projector": BIASED},
    "simple_recipe": {
        "loss": ("LogSum", {"power": 4.0, "eps": 1e-6, "gather": False}),
        "compare": "pooled",
    },
    "vkd": {
        "loss": ("SmoothL1", {"beta": 1.0}),
        "projector": ("Orthogonal", {}),
        "teacher_norm": "layer",
        "compare": "pooled",
    },
    "projector_ensemble": {
        "loss": ("Cosine", {}),
        "projector": ("Ensemble", {"count": 3}),
        "compare": "pooled",
        "weight": 25.0,
    },
    "mgd": {
        "loss": ("MGD", {"ratio": 0.65, "mask": "positions"}),
        "projector": BIASED,
        "weight": 2e-5,
    },
    "ofd": {
        "loss": ("OFD", {"momentum": 0.1, "known": False}),
        "projector": BIASED,
        "weight": 0.001,
        "level_weights": [0.5, 1.0],
    },
    "ab": {
        "loss": ("AB", {"margin": 1.0}),
        "projector": BIASED,
        "weight": 0.003,
        "level_weights": [0.5, 1.0],
    },
    "ft": {
        "loss": ("FactorTransfer", {"rate": 0.5, "p": 1, "reconstruction": 0.002}),
        "weight": 500.0,
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_it_sets(name):
    (link,) = getattr(methods, name)(TWO, TWO)
    assert facts(link) == EXPECTED[name]


def test_the_levels_halve_towards_the_shallow_end():
    taps = ["a", "b", "c"]
    assert methods.ab(taps, taps)[0].level_weights == [0.25, 0.5, 1.0]
    assert methods.ofd("a", "b")[0].level_weights == [1.0]


def test_whitening_compares_positions():
    (link,) = methods.vkd("a", "b", whiten=True)
    assert (link.teacher_norm, link.compare) == ("whiten", "positions")


def test_activation_boundaries_go_with_no_inverted_projector():
    assert methods.ab("a", "b")[0].direction == "traditional"
    with pytest.raises(ConfigError, match="AB cannot be used with direction='inverted', only with"):
        methods.ab("a", "b", direction="inverted")


def test_inverted_is_the_share_of_variance_that_the_teacher_does_not_explain():
    """At the best projector, found by least squares, and whatever the scale of either side."""
    from anyteacher.connection import Connection, Source

    torch.manual_seed(0)
    teacher = torch.randn(50, 3, dtype=torch.float64)
    student = teacher @ torch.randn(3, 2, dtype=torch.float64) + torch.randn(50, 2).double()
    (link,) = methods.inverted("a", "b")
    assert isinstance(link, Link)
    assert type(link.loss) is losses.MSE
    made = Connection(link, Source(7 * student, (4, 4)), Source(0.1 * teacher + 5, (4, 4)))
    centred = teacher - teacher.mean(0)
    wanted = (student - student.mean(0)) / student.std(0, correction=0)
    best = torch.linalg.lstsq(centred / centred.std(0, correction=0), wanted).solution
    with torch.no_grad():
        made.projector.linear.weight.copy_(best.T)
    unexplained = (wanted - centred @ torch.linalg.lstsq(centred, wanted).solution).square().mean()
    value = made(Source(7 * student, (4, 4)), Source(0.1 * teacher + 5, (4, 4)))
    torch.testing.assert_close(value, unexplained, rtol=2e-3, atol=0)
