import pytest
import torch

import anyteacher as at
from anyteacher.errors import ConfigError
from anyteacher.losses import MGD, masked_generation

SHAPES = [(3, 4, 2, 5), (1, 3, 4, 1), (2, 1, 1, 1)]


def pair(shape):
    return torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)


def built(loss, width):
    loss.build(width, width)
    return loss.double()


def slow_convolution(x, layer):
    """A 3x3 convolution of one image, its border filled with zeros."""
    channels, height, width = x.shape
    weight, bias = layer.weight.tolist(), layer.bias.tolist()
    out = torch.zeros(len(bias), height, width, dtype=x.dtype)
    for d in range(len(bias)):
        for i in range(height):
            for j in range(width):
                total = bias[d]
                for c in range(channels):
                    for di in (-1, 0, 1):
                        for dj in (-1, 0, 1):
                            if 0 <= i + di < height and 0 <= j + dj < width:
                                total += weight[d][c][di + 1][dj + 1] * float(x[c, i + di, j + dj])
                out[d, i, j] = total
    return out


def slow_loss(loss, student, teacher, hidden):
    total = 0.0
    for s, t, h in zip(student, teacher, hidden.expand_as(student), strict=True):
        kept = torch.tensor(
            [0.0 if gone else x for x, gone in zip(s.flatten(), h.flatten(), strict=True)],
            dtype=s.dtype,
        ).reshape(s.shape)
        middle = slow_convolution(kept, loss.first)
        middle = torch.where(middle > 0, middle, 0.0)
        generated = slow_convolution(middle, loss.second)
        numbers = zip(generated.flatten().tolist(), t.flatten().tolist(), strict=True)
        total += sum((g - x) ** 2 for g, x in numbers)
    return total / len(student)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mask", ["positions", "channels"])
def test_it_against_plain_loops(shape, mask):
    student, teacher = pair(shape)
    loss = built(MGD(0.5, mask), shape[1])
    torch.manual_seed(5)
    value = loss(student, teacher)
    torch.manual_seed(5)
    images, channels, *grid = shape
    drawn = (images, 1, *grid) if mask == "positions" else (images, channels, 1, 1)
    hidden = torch.rand(drawn) < 0.5
    assert abs(float(value.detach()) - slow_loss(loss, student, teacher, hidden)) < 1e-10


def test_what_is_hidden_has_no_influence():
    student, teacher = pair((2, 3, 4, 5))
    hidden = torch.rand(2, 1, 4, 5) < 0.5
    loss = built(MGD(), 3)
    other = student + hidden * torch.randn(2, 3, 4, 5)
    values = [
        masked_generation(x, teacher, hidden=hidden, generate=loss.generate)
        for x in (student, other)
    ]
    assert torch.equal(*values)


@pytest.mark.parametrize(("mask", "alike"), [("positions", (1,)), ("channels", (2, 3))])
def test_the_share_that_is_hidden(mask, alike, monkeypatch):
    loss, seen = MGD(0.3, mask), []
    loss.build(8, 8)
    monkeypatch.setattr(loss, "generate", lambda x: seen.append(x) or x)
    for _ in range(2):
        loss(torch.ones(16, 8, 9, 11), torch.ones(16, 8, 9, 11))
    first, second = (x == 0 for x in seen)
    assert not torch.equal(first, second)
    assert 0.2 < float(first.float().mean()) < 0.4
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first.float().amax(alike), first.float().amin(alike))


def test_nothing_hidden_and_an_identity_to_generate_with_is_the_squared_error():
    student, teacher = pair((2, 3, 4, 5))
    value = masked_generation(
        student, teacher, hidden=torch.zeros(1, 1, 1, 1, dtype=torch.bool), generate=lambda x: x
    )
    torch.testing.assert_close(value, (student - teacher).square().sum() / 2)
    loss = built(MGD(0.0), 3)
    assert torch.equal(loss(student, teacher), loss(student, teacher))


def test_half_precision_parameters_compute_in_single():
    student, teacher = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    loss = MGD(0.0)
    loss.build(3, 3)
    loss.bfloat16()
    value = loss(student.bfloat16(), teacher.bfloat16())
    assert value.dtype == torch.float32
    expected = loss.float()(student.bfloat16(), teacher.bfloat16())
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MGD(1.0), r"less than 1, got 1.0"),
        (lambda: MGD(-0.1), r"got -0.1"),
        (lambda: MGD(mask="chanels"), r"mask cannot be 'chanels'. Did you mean channels\?"),
    ],
)
def test_impossible_settings_are_refused(make, message, unchecked):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_student_learns_to_generate_the_teacher():
    torch.manual_seed(0)
    student, teacher = torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(3, 6, 1)
    images = torch.rand(8, 3, 6, 6)
    link = at.Link("", "", loss=MGD(0.3), direction="traditional")
    distiller = at.Distiller(student, teacher, [link], example=images)
    optimizer = torch.optim.Adam(distiller.trainable_parameters(), 1e-2)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        total = distiller(images).total
        total.backward()
        optimizer.step()
        values.append(float(total.detach()))
    assert sum(values[-5:]) < 0.4 * sum(values[:5])
