import math
from itertools import pairwise

import pytest
import torch

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses import FSP, HCL, fsp, hcl


def random(*shape):
    return torch.randn(shape, dtype=torch.float64)


def close(value, expected):
    assert value.ndim == 0
    assert abs(float(value) - float(expected)) < 1e-10 * max(1, abs(float(expected)))


def bins(length, count):
    """Where each of so many parts of an axis starts and ends; uneven ones overlap."""
    return [
        (math.floor(i * length / count), math.ceil((i + 1) * length / count)) for i in range(count)
    ]


def pooled(grid, rows, columns, of):
    """A grid of numbers, pooled to so many rows and columns."""
    return [
        [
            of([grid[i][j] for i in range(*down) for j in range(*across)])
            for across in bins(len(grid[0]), columns)
        ]
        for down in bins(len(grid), rows)
    ]


def mean(numbers):
    return sum(numbers) / len(numbers)


def flow(first, second, of):
    """The flow matrix of one image between two levels, each a list of grids, one a channel."""
    rows = min(len(first[0]), len(second[0]))
    columns = min(len(first[0][0]), len(second[0][0]))
    first = [pooled(grid, rows, columns, of) for grid in first]
    second = [pooled(grid, rows, columns, of) for grid in second]
    return [
        [mean([a[i][j] * b[i][j] for i in range(rows) for j in range(columns)]) for b in second]
        for a in first
    ]


def slow_fsp(student, teacher, of, entries):
    images = len(student[0])
    total = 0.0
    for image in range(images):
        sides = [[level[image].tolist() for level in side] for side in (student, teacher)]
        for mine, theirs in zip(*(pairwise(side) for side in sides), strict=True):
            squares = [
                (a - b) ** 2
                for row, other in zip(flow(*mine, of), flow(*theirs, of), strict=True)
                for a, b in zip(row, other, strict=True)
            ]
            total += sum(squares) / (len(squares) if entries == "mean" else 1)
    return total / images


def slow_hcl(student, teacher, pyramid):
    height, width = student.shape[2:]
    steps = [(height, width)]
    steps += [(min(s, height), min(s, width)) for s in pyramid if s < max(height, width)]
    total, weights = 0.0, 0.0
    for index, (rows, columns) in enumerate(steps):
        squares = []
        for mine, theirs in zip(student.flatten(0, 1), teacher.flatten(0, 1), strict=True):
            first, second = (pooled(x.tolist(), rows, columns, mean) for x in (mine, theirs))
            squares += [
                (a - b) ** 2
                for row, other in zip(first, second, strict=True)
                for a, b in zip(row, other, strict=True)
            ]
        total += mean(squares) / 2**index
        weights += 1 / 2**index
    return total / weights


LEVELS = [
    [(2, 3, 4, 6), (2, 4, 4, 6)],
    [(2, 3, 7, 5), (2, 4, 3, 5), (2, 2, 3, 2)],
    [(1, 2, 4, 1), (1, 1, 2, 1)],
    [(2, 2, 2, 5), (2, 3, 4, 3)],
]


@pytest.mark.parametrize("shapes", LEVELS)
@pytest.mark.parametrize("entries", ["sum", "mean"])
@pytest.mark.parametrize("pool", ["max", "average"])
def test_fsp_against_plain_loops(shapes, pool, entries):
    student, teacher = [random(*shape) for shape in shapes], [random(*shape) for shape in shapes]
    expected = slow_fsp(student, teacher, max if pool == "max" else mean, entries)
    close(fsp(student, teacher, pool=pool, entries=entries), expected)
    close(FSP(pool, entries)(student, teacher), expected)


def test_fsp_of_sides_with_other_grids():
    student = [random(2, 3, 4, 6), random(2, 2, 2, 3)]
    teacher = [random(2, 3, 5, 5), random(2, 2, 5, 2)]
    close(fsp(student, teacher), slow_fsp(student, teacher, max, "sum"))


def test_fsp_by_hand():
    # One channel, two positions. Student: (1*3 + 2*4) / 2 = 5.5; teacher: (1*1 + 0*2) / 2 = 0.5.
    student = [torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[3.0, 4.0]]]])]
    teacher = [torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[1.0, 2.0]]]])]
    assert float(fsp(student, teacher)) == 25.0


def test_fsp_sees_neither_where_a_feature_is_nor_the_order_of_the_images():
    student, teacher = ([random(3, 2, 4, 5), random(3, 4, 4, 5)] for _ in "ab")
    expected = fsp(student, teacher)
    places, images = torch.randperm(20), torch.randperm(3)
    moved = [x.flatten(2)[..., places].unflatten(2, (4, 5)) for x in student]
    close(fsp(moved, teacher), expected)
    close(fsp([x[images] for x in student], [x[images] for x in teacher]), expected)
    assert abs(float(fsp([moved[0], student[1]], teacher)) - float(expected)) > 1e-3


def test_fsp_is_of_the_fourth_degree():
    student, teacher = ([random(2, 3, 4, 4), random(2, 4, 2, 2)] for _ in "ab")
    close(fsp([2 * x for x in student], [2 * x for x in teacher]), 16 * fsp(student, teacher))


@pytest.mark.parametrize(
    "shape",
    [
        (2, 3, 8, 8),
        (2, 3, 5, 7),
        (1, 2, 4, 4),
        (2, 2, 2, 9),
        (2, 2, 1, 6),
        (3, 2, 1, 1),
        (1, 1, 3, 2),
    ],
)
@pytest.mark.parametrize("pyramid", [(4, 2, 1), (6, 3), ()])
def test_hcl_against_plain_loops(shape, pyramid):
    student, teacher = random(*shape), random(*shape)
    close(hcl(student, teacher, pyramid=pyramid), slow_hcl(student, teacher, pyramid))
    close(HCL(pyramid)(student, teacher), slow_hcl(student, teacher, pyramid))


def test_hcl_by_hand():
    # The maps: (1 + 4 + 9 + 16) / 4 = 7.5. Their mean: 2.5^2 = 6.25, at half the weight.
    student = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert float(hcl(student, torch.zeros(1, 1, 2, 2))) == pytest.approx((7.5 + 3.125) / 1.5)


def test_a_skipped_step_of_hcl_does_not_halve_the_weight():
    student, teacher = random(2, 3, 4, 4), random(2, 3, 4, 4)
    close(hcl(student, teacher), hcl(student, teacher, pyramid=(2, 1)))
    close(hcl(student, teacher, pyramid=(9, 4)), (student - teacher).square().mean())


def test_hcl_of_a_constant_difference_is_its_square():
    student = random(2, 3, 7, 9)
    close(hcl(student + 3, student), 9.0)


def test_hcl_weighs_what_is_spread_out_more_than_what_averages_away():
    spread = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    checkers = spread.clone()
    checkers[..., ::2, ::2] = checkers[..., 1::2, 1::2] = -1
    zeros = torch.zeros_like(spread)
    close(hcl(spread, zeros), 1.0)
    close(hcl(checkers, zeros), 1 / 1.875)  # it averages to nothing over 2 x 2 positions


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FSP(pool="maxx"), r"pool cannot be 'maxx'. Did you mean max\?"),
        (lambda: FSP(entries="total"), r"entries cannot be 'total'. Known: mean, sum"),
        (lambda: HCL((4, 0)), r"each of 1 position or more, got \(4, 0\)"),
        (lambda: HCL((4, 1.5)), r"a list of whole numbers, .* got \(4, 1\.5\)"),
        (lambda: HCL(4), r"HCL's pyramid is a list .* got 4\."),
    ],
)
def test_impossible_settings_are_refused(make, message, unchecked):
    with pytest.raises(ConfigError, match=message):
        make()


def test_vectors_are_refused(unchecked):
    vector = random(2, 3)
    with pytest.raises(LayoutError, match=r"hcl compares maps \(B, C, H, W\), got two of \(2, 3\)"):
        hcl(vector, vector)
    with pytest.raises(LayoutError, match=r"fsp compares .* all of them maps, got \(2, 3\)"):
        fsp([vector, vector], [vector, vector])


def test_levels_of_other_batches_are_refused(unchecked):
    levels = [random(2, 3, 4, 4), random(1, 3, 4, 4)]
    with pytest.raises(LayoutError, match=r"features of the same images.*got \(2, 3, 4, 4\)"):
        fsp(levels, levels)
