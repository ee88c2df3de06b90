"""Distances and angles between images against loops written from the paper."""

import math

import pytest
import torch
from slow import SHAPES_OF_IMAGES, close, dot, length, mean_of, minus, pair, table, vectors

from anyteacher.losses import RKDAngle, RKDDistance, rkd_angle, rkd_distance


def smooth_l1(d):
    return d * d / 2 if abs(d) < 1 else abs(d) - 0.5


def slow_rkd_distance(student, teacher):
    def scaled(x):
        distances = table(x, lambda a, b: length(minus(a, b)))
        positive = [d for row in distances for d in row if d > 0]
        mean = sum(positive) / len(positive)
        return [[d / mean for d in row] for row in distances]

    return mean_of(lambda p, q: smooth_l1(p - q), scaled(student), scaled(teacher))


def slow_rkd_angle(student, teacher):
    def angle(a, b, c):
        first, second = minus(b, a), minus(c, a)
        if length(first) == 0 or length(second) == 0:
            return 0.0
        return dot(first, second) / (length(first) * length(second))

    mine, theirs = vectors(student), vectors(teacher)
    n, total = len(mine), 0.0
    for a in range(n):
        for b in range(n):
            for c in range(n):
                difference = angle(mine[a], mine[b], mine[c]) - angle(
                    theirs[a], theirs[b], theirs[c]
                )
                total += smooth_l1(difference)
    return total / n**3


@pytest.mark.parametrize(
    ("loss", "slow"),
    [(rkd_distance, slow_rkd_distance), (rkd_angle, slow_rkd_angle)],
    ids=["distance", "angle"],
)
@pytest.mark.parametrize("shapes", SHAPES_OF_IMAGES)
def test_each_loss_against_plain_loops(loss, slow, shapes):
    student, teacher = pair(shapes)
    close(loss(student, teacher), slow(student, teacher))
    # Far from zero, and with a repeated image, whose distance is exactly zero.
    student, teacher = (torch.cat([x, x[1:2]]) + 5 for x in (student, teacher))
    close(loss(student, teacher), slow(student, teacher))


def test_known_values():
    line, corner = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0, 0], [1, 0], [0, 1]])
    # Distances 1, 2, 1 and 1, 1, sqrt 2, each in units of its mean.
    mine, theirs = [0.75, 1.5, 0.75], [3 / (2 + math.sqrt(2)) * d for d in (1, 1, math.sqrt(2))]
    expected = sum((p - q) ** 2 / 2 for p, q in zip(mine, theirs, strict=True)) * 2 / 9
    close(rkd_distance(line, corner), expected, 1e-6)
    # Cosines 1, -1, 1 and 0, sqrt 1/2, sqrt 1/2 at the three images, twice each of 27 triples.
    half = math.sqrt(0.5)
    close(rkd_angle(line, corner), 2 / 27 * (0.5 + (half + 0.5) + (1 - half) ** 2 / 2), 1e-6)


def test_modules_give_what_their_functions_give():
    student, teacher = pair([(5, 3), (5, 2)])
    close(RKDDistance()(student, teacher), rkd_distance(student, teacher))
    close(RKDAngle()(student, teacher), rkd_angle(student, teacher))
