import math

import pytest
import torch

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses import AT, CWD, attention_transfer, channel_wise

SHAPES = [(3, 4, 2, 5), (1, 3, 4, 1), (2, 1, 3, 3), (2, 5, 1, 2)]


def pair(shape, width=None):
    other = (shape[0], width or shape[1], *shape[2:])
    return torch.randn(shape, dtype=torch.float64), torch.randn(other, dtype=torch.float64)


def close(value, expected):
    assert value.ndim == 0
    assert abs(float(value.detach()) - float(expected)) < 1e-10


def slow_attention(image):
    """The attention map of one image (C, H, W) as a list of numbers of unit length."""
    channels = [channel.flatten().tolist() for channel in image]
    energy = [sum(v * v for v in position) for position in zip(*channels, strict=True)]
    length = math.sqrt(sum(e * e for e in energy))
    return [e / length for e in energy]


def slow_at(student, teacher, distance):
    squares = [
        [(a - b) ** 2 for a, b in zip(slow_attention(s), slow_attention(t), strict=True)]
        for s, t in zip(student, teacher, strict=True)
    ]
    if distance == "norm":
        return sum(math.sqrt(sum(row)) for row in squares) / len(squares)
    return sum(sum(row) for row in squares) / sum(len(row) for row in squares)


def slow_softmax(channel, temperature):
    powers = [math.exp(v / temperature) for v in channel.flatten().tolist()]
    return [power / sum(powers) for power in powers]


def slow_cwd(student, teacher, temperature):
    total = 0.0
    for s, t in zip(student.flatten(0, 1), teacher.flatten(0, 1), strict=True):
        mine, theirs = slow_softmax(s, temperature), slow_softmax(t, temperature)
        total += sum(q * math.log(q / p) for p, q in zip(mine, theirs, strict=True))
    return temperature**2 * total / (student.shape[0] * student.shape[1])


@pytest.mark.parametrize("shape", SHAPES)
def test_each_loss_against_plain_loops(shape):
    student, teacher = pair(shape)
    for temperature in (0.5, 1.0, 4.0):
        expected = slow_cwd(student, teacher, temperature)
        close(channel_wise(student, teacher, temperature=temperature), expected)
    for width in (shape[1], 7):
        student, teacher = pair(shape, width)
        for distance in ("squared", "norm"):
            expected = slow_at(student, teacher, distance)
            close(attention_transfer(student, teacher, distance=distance), expected)


def test_the_attention_of_two_places_by_hand():
    # Energies (9 + 16, 0) and (0, 4), so maps (1, 0) and (0, 1).
    student = torch.tensor([[[[3.0, 0.0]], [[-4.0, 0.0]]]])
    teacher = torch.tensor([[[[0.0, 2.0]]]])
    close(attention_transfer(student, teacher), 1.0)
    assert abs(float(attention_transfer(student, teacher, distance="norm")) - 2**0.5) < 1e-6


def test_channel_wise_by_hand():
    # Of two positions with 3 : 1 against 1 : 1, KL is 3/4 log 3/2 + 1/4 log 1/2.
    student = torch.zeros(1, 1, 1, 2).double()
    teacher = torch.tensor([[[[math.log(3.0), 0.0]]]], dtype=torch.float64)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    close(channel_wise(student, teacher, temperature=1.0), expected)
    close(channel_wise(2 * student, 2 * teacher, temperature=2.0), 4 * expected)


@pytest.mark.parametrize("distance", ["squared", "norm"])
def test_attention_sees_neither_scale_nor_sign_nor_rotation_of_the_channels(distance):
    student, teacher = pair((3, 4, 2, 5), 6)
    expected = attention_transfer(student, teacher, distance=distance)
    scale = 1 + torch.rand(3, 1, 1, 1, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    turned = torch.einsum("dc,bchw->bdhw", rotation, teacher)
    close(attention_transfer(-scale * student, turned, distance=distance), expected)


def test_channel_wise_sees_no_shift_and_no_order_of_positions():
    student, teacher = pair((3, 4, 2, 5))
    shift = torch.randn(3, 4, 1, 1, dtype=torch.float64)
    order = torch.randperm(10)
    shuffled = [x.flatten(2)[:, :, order].unflatten(2, (2, 5)) for x in (student + shift, teacher)]
    close(channel_wise(*shuffled), channel_wise(student, teacher))


def test_the_gradient_of_channel_wise_is_the_difference_of_the_distributions():
    student, teacher = pair((3, 4, 2, 5))
    channel_wise(student.requires_grad_(), teacher, temperature=2.0).backward()
    p, q = ((x.detach() / 2).flatten(2).softmax(2) for x in (student, teacher))
    expected = (2 * (p - q) / 12).unflatten(2, (2, 5))  # T^2 / (B C) times 1 / T
    torch.testing.assert_close(student.grad, expected, atol=1e-14, rtol=0)


def test_probabilities_that_underflow_give_finite_gradients_on_both_sides():
    student = torch.tensor([[[[1e4, -1e4, 0.0]]]], requires_grad=True)
    teacher = torch.tensor([[[[-1e4, 1e4, 0.0]]]], requires_grad=True)
    loss = channel_wise(student, teacher, temperature=1.0)
    loss.backward()
    close(loss, 2e4)
    assert student.grad.isfinite().all()
    assert teacher.grad.isfinite().all()


@pytest.mark.parametrize("loss", [AT(), AT("norm"), CWD()])
def test_a_single_position_says_nothing(loss):
    """The map is 1 whatever the feature: the loss is 0, and so is the gradient."""
    student, teacher = pair((3, 4, 1, 1))
    value = loss(student.requires_grad_(), teacher)
    value.backward()
    close(value, 0.0)
    assert student.grad.abs().max() < 1e-15


@pytest.mark.parametrize("distance", ["squared", "norm"])
def test_zeros_have_no_attention(distance):
    student, teacher = pair((1, 3, 2, 2))
    zeros = torch.zeros_like(student).requires_grad_()
    value = attention_transfer(zeros, teacher, distance=distance)
    value.backward()
    close(value, 0.25 if distance == "squared" else 1.0)
    assert zeros.grad.abs().max() == 0


def test_the_norm_has_gradient_zero_at_equality():
    student, _ = pair((2, 3, 2, 2))
    attention_transfer(student.requires_grad_(), student.detach(), distance="norm").backward()
    assert student.grad.abs().max() == 0


@pytest.mark.parametrize("function", [attention_transfer, channel_wise])
def test_vectors_are_refused(function, unchecked):
    with pytest.raises(LayoutError, match=r"a vector has none: got \(2, 3\) from the student"):
        function(torch.zeros(2, 3), torch.zeros(2, 3))


def test_modules_pass_their_settings_on():
    student, teacher = pair((3, 4, 2, 5))
    close(AT("norm")(student, teacher), attention_transfer(student, teacher, distance="norm"))
    close(CWD(0.7)(student, teacher), channel_wise(student, teacher, temperature=0.7))
    close(AT()(student, teacher), slow_at(student, teacher, "squared"))
    close(CWD()(student, teacher), slow_cwd(student, teacher, 4.0))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_impossible_temperatures_are_refused(temperature):
    with pytest.raises(ConfigError, match=f"positive, finite temperature, got {temperature}"):
        CWD(temperature)


def test_an_unknown_distance_is_refused(unchecked):
    with pytest.raises(ConfigError, match=r"distance cannot be 'square'. Did you mean squared\?"):
        AT("square")
