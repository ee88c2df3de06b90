import math

import pytest
import torch

from anyteacher.errors import ConfigError
from anyteacher.losses import VID, mse, variational_information

SHAPES = [(3, 4, 2, 5), (1, 3, 4, 1), (6, 3), (2, 1)]


def pair(shape):
    return torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)


def slow(student, teacher, variance):
    """The mean negative logarithm of the Gaussian density, without its constant."""
    total = 0.0
    for channel, v in enumerate(variance.tolist()):
        mine, theirs = (
            student[:, channel].flatten().tolist(),
            teacher[:, channel].flatten().tolist(),
        )
        for s, t in zip(mine, theirs, strict=True):
            density = math.exp(-((s - t) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v)
            total += -math.log(density) - math.log(2 * math.pi) / 2
    return total / student.numel()


def close(value, expected):
    assert value.ndim == 0
    assert abs(float(value.detach()) - float(expected)) < 1e-10


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_likelihood_of_a_gaussian(shape):
    student, teacher = pair(shape)
    variance = 0.2 + torch.rand(shape[1], dtype=torch.float64)
    value = variational_information(student, teacher, variance=variance)
    close(value, slow(student, teacher, variance))
    torch.testing.assert_close(value, variational_information(teacher, student, variance=variance))


def test_known_values():
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[4.0, 1.0]])
    variance = torch.tensor([9.0, 1.0])
    value = variational_information(student, teacher, variance=variance)
    assert float(value) == pytest.approx((1 / 2 + math.log(9) / 2 + 1 / 2) / 2)
    close(variational_information(student, student, variance=torch.ones(2)), 0.0)


def test_with_unit_variance_it_is_half_the_mean_squared_error():
    student, teacher = pair((3, 4, 2, 5))
    one = torch.ones(4, dtype=torch.float64)
    close(variational_information(student, teacher, variance=one), mse(student, teacher) / 2)


@pytest.mark.parametrize("start", [2e-5, 0.1, 5.0, 500.0])
def test_the_variances_start_where_they_are_told_to(start):
    loss = VID(start)
    loss.build(7, 3)
    assert loss.variance.tolist() == pytest.approx([start] * 3, rel=1e-3 if start < 1e-4 else 1e-5)
    student, teacher = pair((4, 3, 2, 2))
    expected = variational_information(student, teacher, variance=loss.variance)
    torch.testing.assert_close(loss(student, teacher), expected)


def test_the_variances_learn_the_mean_squared_difference_of_each_channel():
    student, teacher = pair((64, 2))
    teacher = student + torch.tensor([0.5, 2.0]) * (teacher - student)
    loss = VID()
    loss.build(2, 2)
    optimizer = torch.optim.LBFGS(loss.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss(student, teacher)
        value.backward()
        return value

    optimizer.step(closure)
    expected = (student - teacher).square().mean(0).float()
    torch.testing.assert_close(loss.variance.detach(), expected, rtol=1e-3, atol=0)


def test_the_least_variance_bounds_the_value():
    loss = VID(eps=1e-3)
    loss.build(3, 3)
    with torch.no_grad():
        loss.scale.fill_(-200)
    feature = torch.randn(2, 3)
    assert float(loss(feature, feature).detach()) == pytest.approx(math.log(1e-3) / 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VID(eps=0.0), r"positive eps, .* got 0.0 and 5.0"),
        (lambda: VID(1e-6), r"got 1e-05 and 1e-06"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
