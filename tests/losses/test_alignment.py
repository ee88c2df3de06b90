"""Centred kernel alignment against loops written from its definition."""

import math

import pytest
import torch
from slow import SHAPES_OF_IMAGES, close, dot, pair, table

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses import CKA, cka


def slow_cka(student, teacher):
    """By the definition: tr(K H L H), and not by centring the features."""

    def hsic(a, b):
        n = len(a)
        h = [[(i == j) - 1 / n for j in range(n)] for i in range(n)]

        def times(p, q):
            return [[dot(row, [r[j] for r in q]) for j in range(n)] for row in p]

        product = times(times(a, h), times(b, h))
        return sum(product[i][i] for i in range(n))

    mine, theirs = table(student, dot), table(teacher, dot)
    return 1 - hsic(mine, theirs) / math.sqrt(hsic(mine, mine) * hsic(theirs, theirs))


def slow_unbiased_cka(student, teacher):
    """By the estimator of Song et al. (2012), equation 5."""

    def hsic(a, b):
        n = len(a)
        a = [[0 if i == j else a[i][j] for j in range(n)] for i in range(n)]
        b = [[0 if i == j else b[i][j] for j in range(n)] for i in range(n)]
        trace = sum(a[i][j] * b[j][i] for i in range(n) for j in range(n))
        sums = sum(map(sum, a)) * sum(map(sum, b)) / ((n - 1) * (n - 2))
        cross = sum(a[i][j] * b[j][m] for i in range(n) for j in range(n) for m in range(n))
        return (trace + sums - 2 / (n - 2) * cross) / (n * (n - 3))

    mine, theirs = table(student, dot), table(teacher, dot)
    return 1 - hsic(mine, theirs) / math.sqrt(hsic(mine, mine) * hsic(theirs, theirs))


@pytest.mark.parametrize("images", [5, 40])
def test_alignment_by_images_and_by_channels_is_the_same(images):
    student, teacher = pair([(images, 6), (images, 8)])  # 5 images by images, 40 by channels
    student = (student + 10).requires_grad_()
    loss = cka(student, teacher)
    close(loss.detach(), slow_cka(student.detach(), teacher))
    loss.backward()
    rows = student.detach().clone().requires_grad_()
    centred = [x - x.mean(0) for x in (rows, teacher)]
    mine, theirs = (x @ x.T for x in centred)
    (1 - (mine * theirs).sum() / (mine.norm() * theirs.norm())).backward()
    torch.testing.assert_close(student.grad, rows.grad, atol=1e-12, rtol=1e-9)


def test_the_unbiased_alignment_needs_four_images():
    with pytest.raises(LayoutError, match="at least 4 of them, got 3"):
        CKA("unbiased")(*pair([(3, 4), (3, 5)]))


def test_the_unbiased_alignment_sees_no_likeness_in_chance():
    student, teacher = pair([(8, 3000), (8, 3000)])
    assert cka(student, teacher) < 0.1  # large features look alike, whatever they are
    assert abs(cka(student, teacher, estimator="unbiased") - 1) < 0.5
    assert abs(cka(student, student, estimator="unbiased")) < 1e-10


@pytest.mark.parametrize("shapes", SHAPES_OF_IMAGES)
def test_against_plain_loops(shapes):
    student, teacher = pair(shapes)
    close(cka(student, teacher), slow_cka(student, teacher))
    close(cka(student, teacher, estimator="unbiased"), slow_unbiased_cka(student, teacher))
    # Far from zero, and with a repeated image, whose distance is exactly zero.
    student, teacher = (torch.cat([x, x[1:2]]) + 5 for x in (student, teacher))
    close(cka(student, teacher), slow_cka(student, teacher))


def test_orthogonal_centred_features_share_nothing():
    close(cka(torch.tensor([[1.0], [-1], [1], [-1]]), torch.tensor([[1.0], [1], [-1], [-1]])), 1)


def test_the_module_passes_its_setting_on():
    student, teacher = pair([(5, 3), (5, 2)])
    close(CKA()(student, teacher), cka(student, teacher))
    close(CKA("unbiased")(student, teacher), cka(student, teacher, estimator="unbiased"))


def test_another_estimator_is_refused(unchecked):
    with pytest.raises(
        ConfigError, match=r"estimator cannot be 'debiased'. Did you mean biased or unb"
    ):
        CKA("debiased")
