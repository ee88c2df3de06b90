"""What every method must do, in each direction that it has."""

from dataclasses import dataclass, field
from itertools import product

import pytest
import torch

import anyteacher as at
from anyteacher import methods
from anyteacher.errors import ConfigError
from anyteacher.losses import DIRECTIONS
from anyteacher.models import ConvNet

LEVELS = ["stages.0", "stages.1"]
IMAGES, CLASSES = 6, 5
LOGITS = ("none",)


@dataclass(frozen=True)
class Row:
    """One method: how it is called here, and the directions that it has."""

    taps: str | list[str] = "stages.1"
    given: dict[str, int] = field(default_factory=dict)
    directions: tuple[str, ...] = DIRECTIONS
    equal_widths: bool = True  # between which `none` has a meaning


# One row a method; a method without a row fails the first test.
ROWS = {
    "ab": Row(LEVELS, directions=("traditional", "none")),
    "at": Row(LEVELS, equal_widths=False),
    "cc": Row(equal_widths=False),
    "cka": Row(equal_widths=False),
    "crd": Row(given={"samples": IMAGES}, equal_widths=False),
    "cwd": Row(),
    "dist": Row("head", directions=LOGITS),
    "dkd": Row("head", directions=LOGITS),
    "fitnet": Row(),
    "fsp": Row(LEVELS),
    "ft": Row(equal_widths=False),
    "ickd": Row(),
    "info_nce": Row(equal_widths=False),
    "inverted": Row(),
    "kd": Row("head", directions=LOGITS),
    "kd_svd": Row(LEVELS),
    "mgd": Row(),
    "nst": Row(LEVELS, equal_widths=False),
    "ofd": Row(LEVELS),
    "pkt": Row(equal_widths=False),
    "projector_ensemble": Row(),
    "reviewkd": Row(LEVELS),
    "rkd": Row(equal_widths=False),
    "simple_recipe": Row(),
    "sp": Row(equal_widths=False),
    "standardized_kd": Row("head", directions=LOGITS),
    "vid": Row(LEVELS),
    "vkd": Row(),
}
CASES = sorted(product(ROWS, DIRECTIONS))


def test_every_method_has_a_row():
    assert set(ROWS) == set(methods.__all__)


def called(name, direction, **settings):
    row = ROWS[name]
    return getattr(methods, name)(row.taps, row.taps, direction=direction, **row.given, **settings)


def widths(name, direction):
    """Of the teacher, whose stages are wider than the student's wherever that has a meaning."""
    row = ROWS[name]
    return (4, 6) if direction == "none" and row.equal_widths and row.taps != "head" else (6, 9)


def distiller(name, direction):
    torch.manual_seed(0)
    student = ConvNet(classes=CLASSES, widths=(4, 6))
    teacher = ConvNet(classes=CLASSES, widths=widths(name, direction))
    links = called(name, direction)
    made = at.Distiller(student, at.Teacher(teacher), links, example=torch.randn(2, 1, 8, 8))
    return made, teacher


@pytest.mark.parametrize(("name", "direction"), CASES)
def test_it_distils_or_refuses_by_name(name, direction):
    if direction not in ROWS[name].directions:
        with pytest.raises(ConfigError, match=rf"^\w+ cannot be used with direction='{direction}'"):
            called(name, direction)
        return
    made, teacher = distiller(name, direction)
    torch.manual_seed(1)
    targets = torch.arange(IMAGES) % CLASSES
    out = made(torch.randn(IMAGES, 1, 8, 8), targets=targets, indices=torch.arange(IMAGES))
    assert out.total.isfinite()
    assert out.total.ndim == 0
    out.total.backward()
    for stage in made.student.stages[: None if ROWS[name].taps == LEVELS else 2]:
        gradient = stage[0].weight.grad
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0
    learned = [p for c in made.connections for p in c.parameters() if p.requires_grad]
    for connection in made.connections:
        own = list(connection.projector.parameters())
        assert bool(own) == (direction != "none")
        assert sum(float(p.grad.abs().sum()) for p in own) > 0 or direction == "none"
    assert all(p.grad is None or p.grad.isfinite().all() for p in learned)
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize("name", ROWS)
def test_it_returns_links_and_nothing_else(name):
    default, other = (called(name, d) for d in (ROWS[name].directions[0], "none"))
    assert isinstance(default, list)
    assert all(type(link) is at.Link for link in default)
    assert {link.direction for link in other} == {"none"}
    assert len({link.name for link in default}) == len(default)
    assert all(link.name.split()[0] == name for link in default)


@pytest.mark.parametrize("name", ROWS)
def test_weight_and_teacher_are_the_callers(name):
    once, thrice = (called(name, "none", weight=w, of="big") for w in (0.5, 1.5))
    assert once[0].weight == 0.5
    assert [link.weight for link in thrice] == [3 * link.weight for link in once]
    assert all(link.of == "big" and " big " in link.name for link in once)


def test_methods_go_together_between_the_same_taps():
    links = methods.fitnet("stages.1", "stages.1") + methods.at("stages.1", "stages.1")
    links += methods.kd("head", "head")
    student, teacher = (ConvNet(classes=CLASSES, widths=w) for w in ((4, 6), (6, 9)))
    made = at.Distiller(student, at.Teacher(teacher), links, example=torch.randn(2, 1, 8, 8))
    out = made(torch.randn(IMAGES, 1, 8, 8))
    assert len(out.losses) == 3
    expected = sum(link.weight * out.losses[link.name] for link in links)
    torch.testing.assert_close(out.total, expected)


def test_no_two_calls_share_their_projectors():
    first, second = (methods.fitnet("a", "b")[0] for _ in range(2))
    assert first.projector is not second.projector
    assert first.loss is not second.loss
