import math

import pytest
import torch

from anyteacher.errors import ConfigError
from anyteacher.losses import Cosine, LogSum, SmoothL1, cosine, log_sum, mse, smooth_l1

SHAPES = [(3, 4, 2, 5), (1, 3, 4, 1), (6, 3), (2, 1)]


def pair(shape):
    return torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)


def rows_of(x):
    """Every position of every image as a list of its channels' numbers."""
    if x.ndim == 2:
        return x.tolist()
    return [
        x[b, :, i, j].tolist()
        for b in range(x.shape[0])
        for i in range(x.shape[2])
        for j in range(x.shape[3])
    ]


def slow_mse(student, teacher):
    squares = [(a - b) ** 2 for a, b in zip(student.flatten(), teacher.flatten(), strict=True)]
    return sum(squares) / len(squares)


def slow_smooth_l1(student, teacher, beta):
    total = 0.0
    for a, b in zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True):
        d = abs(a - b)
        total += d * d / (2 * beta) if d < beta else d - beta / 2
    return total / student.numel()


def slow_cosine(student, teacher):
    total = 0.0
    rows = list(zip(rows_of(student), rows_of(teacher), strict=True))
    for a, b in rows:
        dot = sum(p * q for p, q in zip(a, b, strict=True))
        total += 1 - dot / math.sqrt(sum(p * p for p in a) * sum(q * q for q in b))
    return total / len(rows)


def slow_log_sum(student, teacher, power):
    def standard(x):
        rows = rows_of(x)
        columns = []
        for channel in range(len(rows[0])):
            values = [row[channel] for row in rows]
            mean = sum(values) / len(values)
            variance = sum((v - mean) ** 2 for v in values) / len(values)
            columns.append([(v - mean) / math.sqrt(variance + 1e-5) for v in values])
        return columns

    total = 0.0
    for mine, theirs in zip(standard(student), standard(teacher), strict=True):
        total += sum(abs(a - b) ** power for a, b in zip(mine, theirs, strict=True))
    return 2 * math.log(total + 1e-6)


def close(value, expected):
    assert value.ndim == 0
    assert abs(float(value) - float(expected)) < 1e-10


@pytest.mark.parametrize("shape", SHAPES)
def test_each_loss_against_plain_loops(shape):
    student, teacher = pair(shape)
    close(mse(student, teacher), slow_mse(student, teacher))
    close(cosine(student, teacher), slow_cosine(student, teacher))
    for beta in (0.3, 1.0, 5.0):
        close(smooth_l1(student, teacher, beta=beta), slow_smooth_l1(student, teacher, beta))
    for power in (1.0, 2.0, 4.0):
        close(log_sum(student, teacher, power=power), slow_log_sum(student, teacher, power))


def test_the_gradient_of_mse_is_the_residual():
    student, teacher = pair((3, 4, 2, 5))
    mse(student.requires_grad_(), teacher).backward()
    expected = 2 * (student.detach() - teacher) / student.numel()
    torch.testing.assert_close(student.grad, expected, atol=1e-14, rtol=0)


def test_cosine_does_not_see_the_length_and_log_sum_not_the_scale():
    student, teacher = pair((5, 4, 3, 2))
    scale = 1 + torch.rand(5, 1, 3, 2, dtype=torch.float64)
    close(cosine(student * scale, teacher), cosine(student, teacher))
    channel = 1 + torch.rand(4, 1, 1, dtype=torch.float64)
    assert (
        abs(log_sum(1e3 * student * channel + 7, 1e3 * teacher) - log_sum(student, teacher)) < 1e-3
    )


def test_a_row_of_zeros_has_similarity_zero_and_no_gradient():
    student, teacher = pair((4, 3))
    close(cosine(torch.zeros_like(student), teacher), 1.0)
    student[1] = 0
    for first, second in ((student, teacher), (teacher, student)):
        sides = [x.clone().requires_grad_() for x in (first, second)]
        value = cosine(*sides)
        close(value.detach(), (1 + 3 * slow_cosine(first[[0, 2, 3]], second[[0, 2, 3]])) / 4)
        value.backward()
        for x in sides:
            assert not x.grad[1].any()
            assert x.grad[[0, 2, 3]].all()


def test_modules_pass_their_settings_on():
    student, teacher = pair((3, 4))
    close(SmoothL1(beta=0.2)(student, teacher), smooth_l1(student, teacher, beta=0.2))
    close(LogSum(2.0, 1e-2)(student, teacher), log_sum(student, teacher, power=2.0, eps=1e-2))
    close(Cosine()(student, teacher), cosine(student, teacher))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SmoothL1(0.0), r"positive beta, got 0.0"),
        (lambda: LogSum(power=0.5), r"got 0.5 and"),
        (lambda: LogSum(eps=0.0), r"positive eps, got 4.0 and 0.0"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
