"""Each relational loss against loops written from its paper, and what it must not see."""

import math

import pytest
import torch

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses import (
    CC,
    CKA,
    PKT,
    SP,
    RKDAngle,
    RKDDistance,
    cka,
    correlation_congruence,
    pkt,
    rkd_angle,
    rkd_distance,
    similarity_preserving,
)
from anyteacher.losses.gram import flat, gram, squared_distances

ALL = [similarity_preserving, rkd_distance, rkd_angle, pkt, correlation_congruence, cka]
SHAPES = [((4, 3, 2, 5), (4, 6, 3, 1)), ((6, 3), (6, 2)), ((5, 1, 1, 4), (5, 7)), ((4, 1), (4, 9))]
every_loss = pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.__name__)
every_shape = pytest.mark.parametrize("shapes", SHAPES)


def pair(shapes):
    return tuple(torch.randn(shape, dtype=torch.float64) for shape in shapes)


def vectors(x):
    return [image.flatten().tolist() for image in x]


def dot(a, b):
    return sum(p * q for p, q in zip(a, b, strict=True))


def minus(a, b):
    return [p - q for p, q in zip(a, b, strict=True)]


def length(a):
    return math.sqrt(dot(a, a))


def smooth_l1(d):
    return d * d / 2 if abs(d) < 1 else abs(d) - 0.5


def table(x, entry):
    rows = vectors(x)
    return [[entry(a, b) for b in rows] for a in rows]


def mean_of(function, first, second):
    values = [
        function(p, q)
        for row, other in zip(first, second, strict=True)
        for p, q in zip(row, other, strict=True)
    ]
    return sum(values) / len(values)


def squared(p, q):
    return (p - q) ** 2


def slow_sp(student, teacher):
    def normalised(x):
        return [[v / length(row) for v in row] for row in table(x, dot)]

    return mean_of(squared, normalised(student), normalised(teacher))


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


def slow_cosine(a, b):
    return dot(a, b) / (length(a) * length(b))


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


SLOW = dict(
    zip(
        ALL,
        [
            slow_sp,
            slow_rkd_distance,
            slow_rkd_angle,
            slow_pkt,
            slow_correlation_congruence,
            slow_cka,
        ],
        strict=True,
    )
)


def close(value, expected, tolerance=1e-10):
    assert value.ndim == 0
    assert abs(float(value) - float(expected)) < tolerance


@every_loss
@every_shape
def test_each_loss_against_plain_loops(loss, shapes):
    student, teacher = pair(shapes)
    close(loss(student, teacher), SLOW[loss](student, teacher))
    # Far from zero, and with a repeated image, whose distance is exactly zero.
    student, teacher = (torch.cat([x, x[1:2]]) + 5 for x in (student, teacher))
    close(loss(student, teacher), SLOW[loss](student, teacher))


@every_shape
def test_settings_against_plain_loops(shapes):
    student, teacher = pair(shapes)
    close(pkt(student, teacher, eps=0.01), slow_pkt(student, teacher, 0.01))
    for gamma, order in ((0.4, 1), (1.5, 2), (0.2, 5)):
        close(
            correlation_congruence(student, teacher, gamma=gamma, order=order),
            slow_correlation_congruence(student, teacher, gamma, order),
        )
    close(cka(student, teacher, estimator="unbiased"), slow_unbiased_cka(student, teacher))


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


@every_loss
def test_the_order_of_the_elements_and_their_rotation_make_no_difference(loss):
    student, teacher = pair([(5, 6), (5, 4)])
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    close(loss(student @ rotation, teacher), loss(student, teacher))
    close(loss(student[:, torch.randperm(6)], teacher), loss(student, teacher))


@every_loss
def test_the_scale_of_a_side_makes_no_difference(loss):
    student, teacher = pair([(5, 6), (5, 4)])
    close(loss(1e3 * student, 1e-3 * teacher), loss(student, teacher))


@pytest.mark.parametrize("loss", [rkd_distance, rkd_angle, cka])
def test_a_shift_of_all_images_makes_no_difference(loss):
    student, teacher = pair([(5, 6), (5, 4)])
    close(loss(student + 3, teacher - torch.arange(4.0)), loss(student, teacher))
    # In single precision, features with much in common keep their relations.
    shifted = loss(student.float() + 100, teacher.float())
    assert abs(float(shifted) - float(loss(student, teacher))) < 1e-4


@pytest.mark.parametrize("loss", [pkt, correlation_congruence])
def test_the_length_of_each_image_makes_no_difference(loss):
    student, teacher = pair([(5, 6), (5, 4)])
    lengths = 0.1 + torch.rand(5, 1, dtype=torch.float64)
    close(loss(student * lengths, teacher), loss(student, teacher))


@every_loss
def test_the_order_of_the_images_makes_no_difference(loss):
    student, teacher = pair([(5, 6), (5, 4)])
    order = torch.randperm(5)
    close(loss(student[order], teacher[order]), loss(student, teacher))
    assert abs(float(loss(student[order], teacher)) - float(loss(student, teacher))) > 1e-4


@every_loss
def test_tokens_and_channels_last_maps_give_the_same_without_a_copy(loss):
    student, teacher = pair([(4, 3, 2, 5), (4, 6, 2, 5)])
    expected = loss(student, teacher)
    last = student.to(memory_format=torch.channels_last).requires_grad_()
    close(loss(last, teacher).detach(), expected)
    tokens = torch.cat([torch.zeros(4, 1, 3), student.flatten(2).mT], 1)
    patches = tokens[:, 1:].mT.reshape(4, 3, 2, 5)
    close(loss(patches, teacher), expected)
    assert flat(last).data_ptr() == last.data_ptr()
    assert flat(patches).data_ptr() == patches.data_ptr() == tokens[:, 1:].data_ptr()


def test_known_values():
    line, corner = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0, 0], [1, 0], [0, 1]])
    # Distances 1, 2, 1 and 1, 1, sqrt 2, each in units of its mean.
    mine, theirs = [0.75, 1.5, 0.75], [3 / (2 + math.sqrt(2)) * d for d in (1, 1, math.sqrt(2))]
    expected = sum((p - q) ** 2 / 2 for p, q in zip(mine, theirs, strict=True)) * 2 / 9
    close(rkd_distance(line, corner), expected, 1e-6)
    # Cosines 1, -1, 1 and 0, sqrt 1/2, sqrt 1/2 at the three images, twice each of 27 triples.
    half = math.sqrt(0.5)
    close(rkd_angle(line, corner), 2 / 27 * (0.5 + (half + 0.5) + (1 - half) ** 2 / 2), 1e-6)
    apart, same = torch.tensor([[1.0, 0], [0, 2]]), torch.tensor([[3.0], [3.0]])
    # Rows (1, 0) and (0, 1) against (1, 1) / sqrt 2.
    close(similarity_preserving(apart, same), 1 - half, 1e-6)
    # Rows (2/3, 1/3) against (1/2, 1/2).
    close(pkt(apart, same), 0.25 * math.log(9 / 8), 1e-6)
    # Off the diagonal 1 against 1 + 0.8 + 0.32, each times exp(-0.8).
    close(correlation_congruence(apart, same), (math.exp(-0.8) * 1.12) ** 2 / 2, 1e-6)
    # Orthogonal centred features share nothing.
    close(cka(torch.tensor([[1.0], [-1], [1], [-1]]), torch.tensor([[1.0], [1], [-1], [-1]])), 1)


@every_loss
def test_repeated_and_empty_images_keep_the_gradient_small(loss):
    """A dead image, of zeros, and two equal ones: no gradient there of the size of 1 / eps."""
    student, teacher = (x.float() for x in pair([(5, 6), (5, 4)]))
    student[1], student[3] = 0, student[2]
    loss(student.requires_grad_(), teacher).backward()
    assert 0 < student.grad.abs().max() < 10


@every_loss
@pytest.mark.parametrize("value", [0.0, 0.1, 1e3])
def test_a_side_of_equal_images_has_no_relations_to_move(loss, value):
    student = torch.full((6, 50), value).requires_grad_()
    teacher = torch.randn(6, 9).requires_grad_()
    result = loss(student, teacher)
    result.backward()
    assert result.isfinite()
    assert student.grad.isfinite().all()
    if loss in (rkd_distance, rkd_angle, cka):
        assert not student.grad.any()
        assert not teacher.grad.any() or loss is not cka
    student = student.detach()
    close(loss(student, student), 1 if loss is cka else 0, 1e-6)


def test_distances_below_rounding_are_none():
    """Equal images far from the first are at distance zero, whatever the products' rounding."""
    rows = torch.randn(1, 5000).expand(6, -1) * 100
    squares, apart = squared_distances(gram(torch.cat([torch.zeros(1, 5000), rows])))
    assert apart[0, 1:].all()
    assert not apart[1:, 1:].any()
    assert squares[0, 1:].allclose(rows[0].square().sum())


def test_the_gradient_of_a_gram_matrix():
    rows = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    uneven = torch.randn(2, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(gram(rows), rows @ rows.mT)
    assert torch.autograd.gradcheck(lambda x: (gram(x) * uneven).sum(), rows)


@pytest.mark.parametrize(("loss", "fewest"), [*zip(ALL, [2, 3, 3, 2, 2, 3], strict=True)])
def test_a_batch_that_says_nothing_is_refused(loss, fewest):
    student, teacher = pair([(fewest - 1, 3), (fewest - 1, 4)])
    with pytest.raises(LayoutError, match=rf"at least {fewest} of them, got {fewest - 1}\. Use a"):
        loss(student, teacher)
    student, teacher = pair([(fewest, 3), (fewest, 4)])
    assert loss(student, teacher) > 1e-6  # enough to say something


def test_the_unbiased_alignment_needs_four_images():
    with pytest.raises(LayoutError, match="at least 4 of them, got 3"):
        CKA("unbiased")(*pair([(3, 4), (3, 5)]))


def test_the_unbiased_alignment_sees_no_likeness_in_chance():
    student, teacher = pair([(8, 3000), (8, 3000)])
    assert cka(student, teacher) < 0.1  # large features look alike, whatever they are
    assert abs(cka(student, teacher, estimator="unbiased") - 1) < 0.5
    assert abs(cka(student, student, estimator="unbiased")) < 1e-10


def test_modules_pass_their_settings_on():
    student, teacher = pair([(5, 3), (5, 2)])
    close(SP()(student, teacher), similarity_preserving(student, teacher))
    close(RKDDistance()(student, teacher), rkd_distance(student, teacher))
    close(RKDAngle()(student, teacher), rkd_angle(student, teacher))
    close(PKT(1e-2)(student, teacher), pkt(student, teacher, eps=1e-2))
    expected = correlation_congruence(student, teacher, gamma=1.0, order=4)
    close(CC(1.0, 4)(student, teacher), expected)
    close(CKA("unbiased")(student, teacher), cka(student, teacher, estimator="unbiased"))


def test_only_neighbours_need_equal_widths():
    assert not CC().equal_widths
    assert CC(by="neighbours").equal_widths
    assert CC(by="neighbours").equal_grids
    with pytest.raises(LayoutError, match="compares features of one shape"):
        CC(by="neighbours")(*pair([(4, 3), (4, 2)]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PKT(0.0), r"positive eps, got 0\.0"),
        (lambda: CC(gamma=0.0), r"positive gamma .* got 0\.0 and 2"),
        (lambda: CC(order=0), r"order of at least 1, got 0\.4 and 0"),
        (lambda: CC(by="pairs"), r"'kernel' or by 'neighbours', not by 'pairs'"),
        (lambda: CKA("debiased"), r"'biased' or 'unbiased', not 'debiased'"),
    ],
)
def test_impossible_settings_are_refused(make, message, unchecked):
    with pytest.raises(ConfigError, match=message):
        make()
