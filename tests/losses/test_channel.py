import math

import pytest
import torch

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses import ICKD, NST, inter_channel_correlation, neuron_selectivity

# More channels than positions and the other way round: the products are taken on either side.
SHAPES = [(3, 4, 2, 5), (2, 9, 1, 3), (1, 3, 4, 1), (2, 1, 3, 3)]
UNITS = ["maps", "rows"]


def pair(shape, width=None, grid=None):
    other = (shape[0], width or shape[1], *(grid or shape[2:]))
    return torch.randn(shape, dtype=torch.float64), torch.randn(other, dtype=torch.float64)


def close(value, expected, atol=1e-10):
    assert value.ndim == 0
    assert abs(float(value.detach()) - float(expected)) < atol


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def unit(row):
    length = math.sqrt(dot(row, row))
    return [x / length for x in row]


def channels_of(image):
    """Every channel of one image (C, H, W) as a list of its numbers."""
    return [channel.flatten().tolist() for channel in image]


def slow_correlations(image, what):
    rows = channels_of(image)
    if what == "maps":
        rows = [unit(row) for row in rows]
    matrix = [[dot(a, b) for b in rows] for a in rows]
    return [unit(row) for row in matrix] if what == "rows" else matrix


def slow_ickd(student, teacher, what, power=1):
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        mine, theirs = slow_correlations(s, what), slow_correlations(t, what)
        for a, b in zip(mine, theirs, strict=True):
            total += sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
    return total / student.shape[1] / len(student) ** power


def slow_kernel_mean(xs, ys):
    return sum(dot(x, y) ** 2 for x in xs for y in ys) / (len(xs) * len(ys))


def slow_nst(student, teacher):
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        mine, theirs = ([unit(row) for row in channels_of(x)] for x in (s, t))
        total += slow_kernel_mean(mine, mine) + slow_kernel_mean(theirs, theirs)
        total -= 2 * slow_kernel_mean(mine, theirs)
    return total / len(student)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("what", UNITS)
def test_ickd_against_plain_loops(shape, what):
    for grid in (shape[2:], (2, 2), (6, 7)):
        student, teacher = pair(shape, grid=grid)
        expected = slow_ickd(student, teacher, what)
        close(inter_channel_correlation(student, teacher, unit=what), expected)
        halved = inter_channel_correlation(student, teacher, unit=what, divisor="images_squared")
        close(halved, slow_ickd(student, teacher, what, power=2))


@pytest.mark.parametrize("shape", SHAPES)
def test_nst_against_plain_loops(shape):
    for width in (shape[1], 2, 30):
        student, teacher = pair(shape, width)
        close(neuron_selectivity(student, teacher), slow_nst(student, teacher))


def test_two_channels_by_hand():
    # Channels at right angles against channels that are one and the same.
    unlike, alike = torch.eye(2).reshape(1, 2, 1, 2), torch.ones(1, 2, 1, 2)
    # [[1, 0], [0, 1]] against ones: two differences of 1, for C = 2.
    close(inter_channel_correlation(unlike, alike), 1.0, 1e-6)
    # Rows (1, 0) and (0, 1) against (1, 1) / sqrt 2 twice: each 2 - sqrt 2, for C = 2.
    close(inter_channel_correlation(unlike, alike, unit="rows"), 2 - 2**0.5, 1e-6)
    # Kernel means 1/2 within the first, 1 within the second, 1/2 between.
    close(neuron_selectivity(unlike, alike), 0.5, 1e-6)


@pytest.mark.parametrize("what", UNITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_ickd_sees_no_scale_of_the_map_and_no_turning_of_the_positions(shape, what):
    student, teacher = pair(shape)
    positions = shape[2] * shape[3]
    turn = torch.linalg.qr(torch.randn(positions, positions, dtype=torch.float64)).Q
    scale = 1 + torch.rand(shape[0], 1, 1, dtype=torch.float64)
    other = (scale * student.flatten(2) @ turn).unflatten(2, shape[2:])
    expected = inter_channel_correlation(student, teacher, unit=what)
    close(inter_channel_correlation(other, teacher, unit=what), expected)
    close(inter_channel_correlation(other, student, unit=what), 0.0, 1e-12)


def test_the_cosines_of_ickd_see_no_scale_of_a_channel():
    student, teacher = pair((3, 4, 2, 5))
    scale = 1 + torch.rand(3, 4, 1, 1, dtype=torch.float64)
    close(
        inter_channel_correlation(scale * student, teacher),
        inter_channel_correlation(student, teacher),
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_nst_sees_neither_order_nor_scale_nor_sign_nor_copies_of_the_channels(shape):
    student, teacher = pair(shape, 5)
    expected = neuron_selectivity(student, teacher)
    scale = torch.randn(shape[0], 5, 1, 1, dtype=torch.float64)
    shuffled = (scale * teacher)[:, torch.randperm(5)]
    close(neuron_selectivity(student, shuffled), expected)
    copies = torch.cat([student, student], 1)
    close(neuron_selectivity(copies, teacher), expected)
    close(neuron_selectivity(copies, student), 0.0, 1e-12)


@pytest.mark.parametrize("loss", [ICKD(), ICKD("rows"), NST()])
def test_both_sides_of_the_products_have_the_same_gradient(loss):
    """A channel-rich map repeated along the positions, until there are more of those: the same."""
    student, teacher = pair((2, 9, 1, 3))
    wide = [x.repeat(1, 1, 1, 20).requires_grad_() for x in (student, teacher)]
    few, many = loss(student.requires_grad_(), teacher.requires_grad_()), loss(*wide)
    close(few, many.detach())
    few.backward()
    many.backward()
    for x, repeated in zip((student, teacher), wide, strict=True):
        whole = repeated.grad.unflatten(3, (20, 3)).sum(3)
        torch.testing.assert_close(whole, x.grad, atol=1e-12, rtol=0)


@pytest.mark.parametrize("loss", [ICKD(), ICKD("rows"), NST()])
@pytest.mark.parametrize("shape", [(1, 9, 1, 3), (1, 3, 4, 5)])
def test_a_channel_of_zeros_gets_no_great_gradient(loss, shape):
    """Such a channel is common after a ReLU; its direction is no news, and nothing blows up."""
    student, teacher = pair(shape)
    student[:, 0] = 0
    loss(student.requires_grad_(), teacher).backward()
    assert 0 < student.grad.abs().max() < 10
    if getattr(loss, "unit", "maps") == "maps":  # else it is in the rows of the others too
        assert student.grad[:, 0].abs().max() == 0


@pytest.mark.parametrize("shape", [(1, 9, 1, 3), (1, 3, 4, 5)])
@pytest.mark.parametrize("what", UNITS)
def test_a_channel_of_zeros_correlates_with_none(shape, what):
    student, teacher = pair(shape)
    student[:, 0] = 0
    mine = [[0.0] * shape[1]]
    mine += [[0.0, *row] for row in slow_correlations(student[0, 1:], what)]
    rows = zip(mine, slow_correlations(teacher[0], what), strict=True)
    total = sum((x - y) ** 2 for a, b in rows for x, y in zip(a, b, strict=True))
    close(inter_channel_correlation(student, teacher, unit=what), total / shape[1])


@pytest.mark.parametrize("loss", [ICKD(), ICKD("rows"), NST()])
def test_each_image_close_to_its_teacher_keeps_a_gradient(loss):
    """The squares differ by less than rounding there, and come out below zero for some."""
    generator = torch.Generator().manual_seed(0)
    teacher, noise = torch.randn(2, 8, 512, 7, 7, generator=generator)
    if isinstance(loss, NST):  # by way of the channels where they are fewer
        teacher, noise = (x.reshape(8, 49, 16, 32) for x in (teacher, noise))
    grads = []
    for dtype in (torch.float32, torch.float64):
        student = (teacher.to(dtype) + 3e-4 * noise.to(dtype)).requires_grad_()
        value = loss(student, teacher.to(dtype))
        value.backward()
        assert value >= 0
        grads.append(student.grad.double().flatten(1))
    assert (torch.cosine_similarity(*grads) > 0.99).all()
    assert ((grads[0] - grads[1]).norm(dim=1) < 0.1 * grads[1].norm(dim=1)).all()


def test_a_single_position_says_nothing_to_nst():
    student, teacher = pair((3, 4, 1, 1))
    value = neuron_selectivity(student.requires_grad_(), teacher)
    value.backward()
    close(value, 0.0)
    assert student.grad.abs().max() < 1e-12


@pytest.mark.parametrize("function", [inter_channel_correlation, neuron_selectivity])
def test_vectors_are_refused(function, unchecked):
    with pytest.raises(LayoutError, match=r"a vector has none: got \(2, 3\) from the student"):
        function(torch.zeros(2, 3), torch.zeros(2, 3))


def test_a_map_and_a_vector_are_refused(unchecked):
    with pytest.raises(LayoutError, match=r"a vector has none: got \(2, 3, 1, 2\) from"):
        inter_channel_correlation(torch.zeros(2, 3, 1, 2), torch.zeros(2, 3))


def test_modules_pass_their_settings_on():
    student, teacher = pair((3, 4, 2, 5))
    close(ICKD()(student, teacher), slow_ickd(student, teacher, "maps"))
    both = ICKD("rows", "images_squared")
    close(both(student, teacher), slow_ickd(student, teacher, "rows", power=2))
    close(NST()(student, teacher), slow_nst(student, teacher))


def test_unknown_settings_are_refused(unchecked):
    with pytest.raises(ConfigError, match=r"unit cannot be 'row'. Did you mean rows\?"):
        ICKD("row")
    with pytest.raises(ConfigError, match=r"divisor cannot be 'pixels'. Known: images, images_sq"):
        ICKD(divisor="pixels")
