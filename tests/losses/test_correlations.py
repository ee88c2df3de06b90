"""Correlations of class probabilities against loops written from the paper."""

import math

import pytest
import torch
from slow import close, rows_of, softmax

import anyteacher as at
from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses import DIST, dist

SHAPES = [(3, 4, 2, 5), (1, 3, 4, 1), (6, 3), (2, 7)]


def pair(shape):
    return torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)


def slow_dist(student, teacher, *, temperature, inter, intra, eps):
    def pearson(a, b):
        a, b = ([v - sum(x) / len(x) for v in x] for x in (a, b))
        dot = sum(p * q for p, q in zip(a, b, strict=True))
        return dot / (math.sqrt(sum(p * p for p in a)) * math.sqrt(sum(q * q for q in b)) + eps)

    mine, theirs = ([softmax(row, temperature) for row in rows_of(x)] for x in (student, teacher))
    rows = [pearson(a, b) for a, b in zip(mine, theirs, strict=True)]
    columns = [
        pearson(a, b)
        for a, b in zip(zip(*mine, strict=True), zip(*theirs, strict=True), strict=True)
    ]
    return inter * (1 - sum(rows) / len(rows)) + intra * (1 - sum(columns) / len(columns))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperature", [1.0, 2.5, 4.0])
@pytest.mark.parametrize("eps", [1e-8, 0.1])
def test_against_plain_loops(shape, temperature, eps):
    student, teacher = pair(shape)
    settings = {"temperature": temperature, "inter": 0.5, "intra": 3.0, "eps": eps}
    expected = slow_dist(student, teacher, **settings)
    close(dist(student, teacher, **settings), temperature**2 * expected)
    close(dist(student, teacher, **settings, scale="none"), expected)


def test_value_by_hand():
    # One hot against the other: every row and every column is anti-correlated.
    one = torch.tensor([[0.0, 40.0], [40.0, 0.0]])
    assert float(dist(one, one.flip(1))) == pytest.approx(4.0)


def test_a_shift_of_a_rows_logits_makes_no_difference():
    student, teacher = pair((5, 4, 3, 2))
    shift = torch.randn(5, 1, 3, 2, dtype=torch.float64)
    close(dist(student + shift, teacher), dist(student, teacher))


def test_a_map_is_its_pixels_as_rows():
    student, teacher = pair((3, 4, 2, 5))
    flat = [x.movedim(1, -1).flatten(0, -2) for x in (student, teacher)]
    close(dist(student, teacher), dist(*flat))


def test_an_extreme_teacher_leaves_a_finite_gradient():
    student, teacher = torch.randn(2, 4, requires_grad=True), torch.zeros(2, 4)
    teacher[0, 1], teacher[1, 2] = 1e4, -1e4
    teacher.requires_grad_()
    value = dist(student, teacher)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()
    assert teacher.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_student_has_no_gradient(dtype):
    """The start of a student whose last layer is zero, up to rounding."""
    teacher = torch.randn(4, 7, 5, 3, dtype=dtype)
    student = (0.1 + torch.zeros_like(teacher)).requires_grad_()
    value = dist(student, teacher)
    value.backward()
    assert float(value.detach()) == pytest.approx(2.0)
    assert student.grad.abs().max() == 0


def test_the_module_passes_its_settings_on():
    student, teacher = pair((4, 5))
    settings = {"temperature": 3.0, "inter": 2.0, "intra": 0.5, "scale": "none", "eps": 1e-3}
    close(DIST(**settings)(student, teacher), dist(student, teacher, **settings))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DIST(temperature=0.0), r"positive temperature, got 0.0"),
        (lambda: DIST(intra=-2.0), r"weights of 0 or more, got inter=1.0 and intra=-2.0"),
        (lambda: DIST(scale="square"), r"scale cannot be 'square'. Did you mean squared\?"),
        (lambda: DIST(eps=0.0), r"positive eps, got 0.0"),
    ],
)
def test_impossible_settings_are_refused(make, message, unchecked):
    with pytest.raises(ConfigError, match=message):
        make()


def test_too_few_classes_or_rows_are_refused():
    two, three = torch.zeros(2, 2), torch.zeros(1, 3)
    with pytest.raises(LayoutError, match=r"at least two classes, got logits of 1\. For a single"):
        dist(two[:, :1], two[:, :1])
    with pytest.raises(LayoutError, match=r"at least two rows, got logits of shape \(1, 3\)"):
        dist(three, three)


def test_teachers_of_other_classes_are_refused_with_advice():
    models = [torch.nn.Conv2d(3, classes, 1) for classes in (10, 7)]
    link = at.Link("0", "0", loss=DIST(), direction="none", name="logits")
    with pytest.raises(LayoutError, match=r"losses.MSE\(\) with direction='inverted'") as raised:
        at.Distiller(*map(torch.nn.Sequential, models), [link], example=torch.rand(2, 3, 4, 4))
    assert str(raised.value).startswith("Link 'logits': Without a projector DIST ")
    assert "got 10 channels from the student and 7 from the teacher" in str(raised.value)
