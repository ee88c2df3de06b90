"""Losses of the similarity of images against loops written from their papers."""

import math

import pytest
import torch
from slow import (
    SHAPES_OF_IMAGES,
    close,
    dot,
    length,
    mean_of,
    minus,
    pair,
    slow_cosine,
    squared,
    table,
    vectors,
)

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses import CC, PKT, SP, correlation_congruence, pkt, similarity_preserving


def slow_sp(student, teacher):
    def normalised(x):
        return [[v / length(row) for v in row] for row in table(x, dot)]

    return mean_of(squared, normalised(student), normalised(teacher))


def slow_pkt(student, teacher, eps=1e-7):
    def probabilities(x):
        affinities = table(x, lambda a, b: (slow_cosine(a, b) + 1) / 2)
        return [[v / sum(row) for v in row] for row in affinities]

    return mean_of(
        lambda t, s: t * math.log((t + eps) / (s + eps)),
        probabilities(teacher),
        probabilities(student),
    )


def slow_correlation_congruence(student, teacher, gamma=0.4, order=2):
    def kernel(a, b):
        factor = math.exp(-2 * gamma)
        return sum(
            factor * (2 * gamma) ** p / math.factorial(p) * slow_cosine(a, b) ** p
            for p in range(order + 1)
        )

    return mean_of(squared, table(student, kernel), table(teacher, kernel))


def test_congruence_of_neighbours_against_plain_loops():
    student, teacher = pair([(5, 3, 2, 4)] * 2)
    total = 0.0
    for i in range(4):
        first = minus(vectors(student)[i], vectors(teacher)[i])
        second = minus(vectors(student)[i + 1], vectors(teacher)[i + 1])
        total += sum(abs(a) * abs(b) for a, b in zip(first, second, strict=True))
    close(correlation_congruence(student, teacher, by="neighbours"), total / 4)
    close(CC(by="neighbours")(student, teacher), total / 4)


def test_a_high_order_of_congruence_is_the_gaussian_kernel():
    student, teacher = pair([(5, 3), (5, 4)])

    def kernel(x):
        return torch.exp(-0.3 * torch.cdist(*[torch.nn.functional.normalize(x)] * 2) ** 2)

    expected = torch.nn.functional.mse_loss(kernel(student), kernel(teacher))
    close(correlation_congruence(student, teacher, gamma=0.3, order=12), expected)


def test_only_neighbours_need_equal_widths():
    assert not CC().equal_widths
    assert CC(by="neighbours").equal_widths
    assert CC(by="neighbours").equal_grids
    with pytest.raises(LayoutError, match="compares features of one shape"):
        CC(by="neighbours")(*pair([(4, 3), (4, 2)]))


@pytest.mark.parametrize(
    ("loss", "slow"),
    [
        (similarity_preserving, slow_sp),
        (pkt, slow_pkt),
        (correlation_congruence, slow_correlation_congruence),
    ],
    ids=["sp", "pkt", "cc"],
)
@pytest.mark.parametrize("shapes", SHAPES_OF_IMAGES)
def test_each_loss_against_plain_loops(loss, slow, shapes):
    student, teacher = pair(shapes)
    close(loss(student, teacher), slow(student, teacher))
    # Far from zero, and with a repeated image, whose distance is exactly zero.
    student, teacher = (torch.cat([x, x[1:2]]) + 5 for x in (student, teacher))
    close(loss(student, teacher), slow(student, teacher))


@pytest.mark.parametrize("shapes", SHAPES_OF_IMAGES)
def test_settings_against_plain_loops(shapes):
    student, teacher = pair(shapes)
    close(pkt(student, teacher, eps=0.01), slow_pkt(student, teacher, 0.01))
    for gamma, order in ((0.4, 1), (1.5, 2), (0.2, 5)):
        close(
            correlation_congruence(student, teacher, gamma=gamma, order=order),
            slow_correlation_congruence(student, teacher, gamma, order),
        )


def test_images_almost_opposite_keep_their_gradient():
    """Rounding takes their cosine below -1; the logarithm makes much of what is left."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        rows, teacher = torch.randn(2, 8, 64, generator=generator)
        rows[1] = -2 * rows[0] + 2e-4 * rows[1]
        gradients = []
        for dtype in (torch.float32, torch.float64):
            student = rows.to(dtype, copy=True).requires_grad_()
            pkt(student, teacher.to(dtype)).backward()
            gradients.append(student.grad.double())
        assert (gradients[0] - gradients[1]).norm() < 0.5 * gradients[1].norm()


def test_known_values():
    half = math.sqrt(0.5)
    apart, same = torch.tensor([[1.0, 0], [0, 2]]), torch.tensor([[3.0], [3.0]])
    # Rows (1, 0) and (0, 1) against (1, 1) / sqrt 2.
    close(similarity_preserving(apart, same), 1 - half, 1e-6)
    # Rows (2/3, 1/3) against (1/2, 1/2).
    close(pkt(apart, same), 0.25 * math.log(9 / 8), 1e-6)
    # Off the diagonal 1 against 1 + 0.8 + 0.32, each times exp(-0.8).
    close(correlation_congruence(apart, same), (math.exp(-0.8) * 1.12) ** 2 / 2, 1e-6)


def test_modules_pass_their_settings_on():
    student, teacher = pair([(5, 3), (5, 2)])
    close(SP()(student, teacher), similarity_preserving(student, teacher))
    close(PKT(1e-2)(student, teacher), pkt(student, teacher, eps=1e-2))
    expected = correlation_congruence(student, teacher, gamma=1.0, order=4)
    close(CC(1.0, 4)(student, teacher), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PKT(0.0), r"positive eps, got 0\.0"),
        (lambda: CC(gamma=0.0), r"positive gamma .* got 0\.0 and 2"),
        (lambda: CC(order=0), r"order of at least 1, got 0\.4 and 0"),
        (lambda: CC(by="pairs"), r"by cannot be 'pairs'. Known: kernel, neighbours"),
    ],
)
def test_impossible_settings_are_refused(make, message, unchecked):
    with pytest.raises(ConfigError, match=message):
        make()
