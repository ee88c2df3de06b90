import math

import pytest
import torch
from torch import nn

import anyteacher as at
from anyteacher.errors import ConfigError
from anyteacher.losses import FactorTransfer, factor_transfer

SHAPES = [(3, 4, 2, 5), (1, 3, 4, 1), (6, 3), (2, 1)]


def pair(shape):
    return torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)


def slow(student, teacher, p):
    total = 0.0
    for s, t in zip(student.flatten(1).tolist(), teacher.flatten(1).tolist(), strict=True):
        mine, theirs = math.sqrt(sum(a * a for a in s)), math.sqrt(sum(b * b for b in t))
        total += sum(abs(a / mine - b / theirs) ** p for a, b in zip(s, t, strict=True))
    return total / student.numel()


def close(value, expected):
    assert value.ndim == 0
    assert abs(float(value.detach()) - float(expected)) < 1e-10


def built(loss, student, teacher):
    loss.build(student, teacher)
    return loss.double()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("p", [1, 2])
def test_factors_against_plain_loops(shape, p):
    student, teacher = pair(shape)
    close(factor_transfer(student, teacher, p=p), slow(student, teacher, p))


def test_known_values():
    student, teacher = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]])  # (.6, .8), (0, 1)
    assert float(factor_transfer(student, teacher)) == pytest.approx(0.4)
    assert float(factor_transfer(student, teacher, p=2)) == pytest.approx(0.2)
    opposite = factor_transfer(torch.ones(1, 4, 2, 2), -torch.ones(1, 4, 2, 2))
    assert float(opposite) == pytest.approx(2 / 4)


def test_the_length_of_a_factor_does_not_matter_and_zeros_stay_zero():
    student, teacher = pair((3, 4, 2, 5))
    scale = 0.1 + torch.rand(3, 1, 1, 1, dtype=torch.float64)
    for p in (1, 2):
        close(factor_transfer(scale * student, teacher, p=p), slow(student, teacher, p))
    zero = torch.zeros_like(student).requires_grad_()
    value = factor_transfer(zero, teacher, p=2)
    close(value, 1 / student[0].numel())  # unit vectors, and nothing to subtract
    value.backward()
    assert zero.grad.abs().max() < 1


def chain(x, layers):
    """Convolutions with leaky ReLUs, one sum at a time."""
    out = []
    for image in x:
        y = image
        for layer in layers:
            y = convolved(y, layer)
            y = torch.where(y > 0, y, 0.1 * y)
        out.append(y)
    return torch.stack(out)


def convolved(x, layer):
    """A 3x3 convolution of one image, its border filled with zeros."""
    _, height, width = x.shape
    out = torch.zeros(len(layer.weight), height, width, dtype=x.dtype)
    weight = layer.weight.detach()
    for i in range(height):
        for j in range(width):
            out[:, i, j] = layer.bias.detach()
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    if 0 <= i + di < height and 0 <= j + dj < width:
                        out[:, i, j] += weight[:, :, di + 1, dj + 1] @ x[:, i + di, j + dj]
    return out


@pytest.mark.parametrize("learned", [False, True])
def test_the_module_against_plain_loops(learned):
    student = torch.randn(3, 5, 2, 4, dtype=torch.float64)
    teacher = torch.randn(3, 4, 2, 4, dtype=torch.float64)
    loss = built(FactorTransfer(0.75, p=2, reconstruction=0.3), 5, 4)
    mine, theirs = chain(student, loss.translator), chain(teacher, loss.encoder)
    assert mine.shape == theirs.shape == (3, 3, 2, 4)
    expected = slow(mine, theirs, 2)
    error = (chain(theirs, loss.decoder) - teacher).square().mean()
    teacher.requires_grad_(learned)
    close(loss(student, teacher), expected + 0.3 * error)
    close(loss.eval()(student, teacher), expected)


def gradients(loss, student, teacher):
    loss.zero_grad()
    loss(student, teacher).backward()
    return {name: parameter.grad for name, parameter in loss.named_parameters()}


@pytest.mark.parametrize("learned", [False, True])
def test_only_the_reconstruction_changes_the_paraphraser(learned):
    teacher = torch.randn(2, 4, 3, 3, dtype=torch.float64).requires_grad_(learned)
    loss = built(FactorTransfer(), 5, 4)
    first, second = (
        gradients(loss, torch.randn(2, 5, 3, 3, dtype=torch.float64), teacher) for _ in "ab"
    )
    assert {name.partition(".")[0] for name in first} == {"translator", "encoder", "decoder"}
    for name, gradient in first.items():
        assert gradient.abs().max() > 0
        # Another student makes another factor loss, which the paraphraser must not feel.
        assert torch.equal(gradient, second[name]) == ("translator" not in name)
    code = teacher.detach()
    for layer in loss.encoder:
        code = nn.functional.leaky_relu(layer(code), 0.1)
    made = code
    for layer in loss.decoder:
        made = nn.functional.leaky_relu(layer(made), 0.1)
    error = 0.002 * (made - teacher.detach()).square().mean()
    parameters = [*loss.encoder.parameters(), *loss.decoder.parameters()]
    expected = torch.autograd.grad(error, parameters)
    names = [name for name in first if "translator" not in name]
    for name, gradient in zip(names, expected, strict=True):
        torch.testing.assert_close(first[name], gradient)


def test_a_projector_of_the_teacher_learns_from_the_factors_alone():
    student = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    teacher = torch.randn(2, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    found = []
    for factor in (0.002, 7.0):
        torch.manual_seed(1)
        loss = built(FactorTransfer(reconstruction=factor), 4, 4)
        found.append(torch.autograd.grad(loss(student, teacher), teacher)[0])
    evaluated = torch.autograd.grad(loss.eval()(student, teacher), teacher)[0]
    assert found[0].abs().max() > 0
    assert torch.equal(found[0], found[1])
    torch.testing.assert_close(found[0], evaluated)


@pytest.mark.parametrize("direction", at.losses.DIRECTIONS)
def test_a_student_learns_the_factors_in_every_direction(direction):
    torch.manual_seed(0)
    student, teacher = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 6, 3, padding=1)
    images = torch.rand(8, 3, 6, 6)
    link = at.Link("", "", loss=FactorTransfer(reconstruction=1.0), direction=direction)
    distiller = at.Distiller(student, teacher, [link], example=images)
    optimizer = torch.optim.Adam(distiller.trainable_parameters(), 3e-3)
    values = []
    for _ in range(80):
        optimizer.zero_grad()
        total = distiller(images).total
        total.backward()
        optimizer.step()
        values.append(float(total.detach()))
    assert values[-1] < 0.4 * values[0]


def test_a_vector_is_a_map_of_one_position():
    loss = built(FactorTransfer(), 5, 4).eval()
    student = torch.randn(3, 5, dtype=torch.float64)
    teacher = torch.randn(3, 4, dtype=torch.float64)
    maps = student[:, :, None, None], teacher[:, :, None, None]
    torch.testing.assert_close(loss(student, teacher), loss(*maps))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FactorTransfer(0.0), r"positive rate and reconstruction, got 0.0 and 0.002"),
        (lambda: FactorTransfer(reconstruction=0.0), r"got 0.5 and 0.0"),
        (lambda: FactorTransfer(p=3), r"p cannot be 3. Known: 1, 2"),
    ],
)
def test_impossible_settings_are_refused(make, message, unchecked):
    with pytest.raises(ConfigError, match=message):
        make()
