import math
import subprocess
import sys

import pytest
import torch
from torch import nn

import anyteacher as at
from anyteacher.errors import ConfigError
from anyteacher.losses import AB, OFD, activation_boundary, partial_l2
from anyteacher.losses.activation import negative_response

SHAPES = [(3, 4, 2, 5), (1, 3, 4, 1), (6, 3), (2, 1)]


def pair(shape):
    return torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)


def pairs_of_numbers(student, teacher):
    return zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True)


def slow_activation_boundary(student, teacher, margin):
    total = 0.0
    for s, t in pairs_of_numbers(student, teacher):
        if t > 0 and s < margin:
            total += (s - margin) ** 2
        elif t <= 0 and s > -margin:
            total += (s + margin) ** 2
    return total / len(student)


def slow_partial_l2(student, teacher, margin):
    total = 0.0
    for channel, least in enumerate(margin.tolist()):
        for s, t in pairs_of_numbers(student[:, channel], teacher[:, channel]):
            target = max(t, least)
            if not s <= target <= 0:
                total += (s - target) ** 2
    return total / len(student)


def slow_means(teacher):
    """The mean of each channel's negative numbers, 0 where there is none."""
    found = []
    for channel in range(teacher.shape[1]):
        below = [t for t in teacher[:, channel].flatten().tolist() if t < 0]
        found.append(sum(below) / len(below) if below else 0.0)
    return torch.tensor(found, dtype=teacher.dtype)


def close(value, expected):
    assert value.ndim == 0
    assert abs(float(value.detach()) - float(expected)) < 1e-10


@pytest.mark.parametrize("shape", SHAPES)
def test_each_loss_against_plain_loops(shape):
    student, teacher = pair(shape)
    for margin in (0.1, 1.0, 3.0):
        expected = slow_activation_boundary(student, teacher, margin)
        close(activation_boundary(student, teacher, margin=margin), expected)
        close(AB(margin)(student, teacher), expected)
    margins = -torch.rand(shape[1], dtype=torch.float64)
    close(partial_l2(student, teacher, margin=margins), slow_partial_l2(student, teacher, margins))


def test_known_values():
    student = torch.tensor([[2.0, 0.5, -0.5, -3.0]])
    close(activation_boundary(student, torch.tensor([[1.0, 9.0, -1.0, 0.0]])), 0.25 + 0.25)
    close(activation_boundary(student, torch.tensor([[-1.0, 0.0, 1.0, 9.0]])), 9 + 2.25 + 2.25 + 16)
    zero = torch.zeros(1, 4)
    close(activation_boundary(zero, zero), 4.0)
    # Targets max(t, -1): 3, -1, -1, -0.5; the second is above its target, the last two below it.
    student, teacher = torch.tensor([[1.0, 0.0, -2, -0.6]]), torch.tensor([[3.0, -4, -4, -0.5]])
    close(partial_l2(student, teacher, margin=torch.full((4,), -1.0)), 4 + 1 + 0 + 0)


def test_how_strongly_the_teacher_responds_does_not_matter_to_boundaries():
    student, teacher = pair((3, 4, 2, 5))
    scale = 0.1 + torch.rand(teacher.shape, dtype=torch.float64)
    close(activation_boundary(student, scale * teacher), activation_boundary(student, teacher))


def test_partial_l2_lets_the_student_be_as_negative_as_it_likes():
    student, teacher = -torch.rand(2, 3), -5 - torch.rand(2, 3)
    margin = torch.full((3,), -1.0)
    assert partial_l2(student - 1, teacher, margin=margin) == 0
    assert partial_l2(student, teacher, margin=margin) > 0
    assert partial_l2(student - 9, -teacher, margin=margin) > 9**2


def test_the_margin_is_the_mean_of_the_negative_part_of_a_gaussian():
    norm = nn.BatchNorm2d(6)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, -0.5, 1.0, 0.0, 0.0]))
        norm.bias.copy_(torch.tensor([0.0, 1.0, -1.0, 40.0, -3.0, 2.0]))
    step = 1e-3
    expected = []
    for mean, deviation in [(0.0, 1.0), (1.0, 2.0), (-1.0, 0.5)]:
        points = [-(i + 0.5) * step for i in range(20_000)]
        mass = [math.exp(-((x - mean) ** 2) / (2 * deviation**2)) for x in points]
        expected.append(sum(x * m for x, m in zip(points, mass, strict=True)) / sum(mass))
    margin = negative_response(norm)
    assert margin[:3].tolist() == pytest.approx(expected, abs=1e-6)
    assert margin[0] == pytest.approx(-math.sqrt(2 / math.pi))
    # Hardly ever negative; constant and negative; constant and positive.
    assert margin[3:].tolist() == pytest.approx([-1 / 40, -3.0, 0.0], rel=2e-3, abs=1e-6)
    plain = negative_response(nn.BatchNorm1d(2, affine=False))
    assert plain.tolist() == pytest.approx([-math.sqrt(2 / math.pi)] * 2)


def test_a_batch_norm_of_the_teacher_gives_the_margin_and_keeps_it():
    norm = nn.BatchNorm2d(3)
    nn.init.normal_(norm.weight)
    for module in (norm, nn.Sequential(nn.ReLU(), nn.Sequential(nn.Conv2d(2, 3, 1), norm))):
        loss = OFD()
        loss.build(3, 3, module)
        assert torch.equal(loss.margin, negative_response(norm))
        loss(torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2))
        assert torch.equal(loss.margin, negative_response(norm))
        assert list(loss.state_dict()) == ["margin"]


@pytest.mark.parametrize(
    "module",
    [None, nn.Sequential(), nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), nn.BatchNorm2d(4)],
)
def test_else_the_margin_is_a_running_mean_of_the_negative_responses(module):
    loss = OFD(momentum=0.25)
    loss.build(3, 3, module)
    loss.double()
    student, first = pair((4, 3, 2, 5))
    first[:, 2] = first[:, 2].abs()  # never negative in the first batch
    expected = slow_means(first)
    close(loss(student, first), slow_partial_l2(student, first, expected))
    _, second = pair((2, 3, 3, 3))
    means = slow_means(second)
    loss(second, second)
    expected = torch.where(expected < 0, 0.75 * expected + 0.25 * means, means)
    torch.testing.assert_close(loss.margin, expected)
    loss(student.abs(), student.abs())  # says nothing of negative responses
    torch.testing.assert_close(loss.margin, expected)
    close(loss.eval()(student, first), slow_partial_l2(student, first, expected))
    torch.testing.assert_close(loss.margin, expected)


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, width, 2, 2), nn.BatchNorm2d(width)
        nn.init.normal_(self.norm.bias)

    def forward(self, images):
        return self.norm(self.conv(images)).relu()


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({"direction": "traditional"}, True),
        ({"direction": "inverted"}, False),
        ({"direction": "traditional", "teacher_norm": "batch"}, False),
        ({"direction": "traditional", "compare": "pooled"}, False),
        ({"direction": "traditional", "teacher": "input:norm"}, False),
        ({"direction": "traditional", "teacher": "conv"}, False),
    ],
)
def test_in_a_link_the_margin_is_that_of_what_is_compared(changes, known):
    teacher, images = Model(5), torch.rand(4, 3, 6, 8)
    link = at.Link(**{"student": "norm", "teacher": "norm", "loss": OFD(), **changes})
    distiller = at.Distiller(Model(4), teacher, [link], example=images)
    (loss,) = distiller.connections[0].losses
    before = loss.margin.clone()
    distiller(images).total.backward()
    assert loss.known == known
    assert torch.equal(before, loss.margin) == known
    if known:
        assert torch.equal(loss.margin, negative_response(teacher.norm))


COMPILED = """
import torch
from anyteacher.losses import OFD
student, teacher = torch.randn(2, 4, 3, 2, 5).double()
results = []
for compiled in (False, True):
    loss = OFD()
    loss.build(3, 3)
    loss.double()
    run = torch.compile(loss, fullgraph=True, backend="aot_eager") if compiled else loss
    results.append((run(student, teacher), run(teacher, student), loss.margin))
for mine, theirs in zip(*results, strict=True):
    torch.testing.assert_close(mine, theirs)
print("same", bool((loss.margin < 0).all()))
"""


def test_it_compiles_with_its_change_of_state():
    """In a process of its own: the run-time checks are not for compiled code."""
    done = subprocess.run(
        [sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False
    )
    assert done.stdout == "same True\n", done.stderr[-2000:]


def test_boundaries_cannot_teach_a_projector_of_the_teacher():
    images = torch.rand(2, 3, 4, 4)
    link = at.Link("norm", "norm", loss=AB(), direction="inverted")
    with pytest.raises(ConfigError, match="no gradient"):
        at.Distiller(Model(4), Model(5), [link], example=images)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AB(0.0), r"positive margin, got 0.0"),
        (lambda: OFD(0.0), r"momentum above 0 and at most 1, got 0.0"),
        (lambda: OFD(1.5), r"got 1.5"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
