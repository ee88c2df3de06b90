import math

import pytest
import torch

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.projectors import ABF


def made(befores, afters, width=0):
    torch.manual_seed(1)
    projector = ABF(width)
    projector.build(befores, afters)
    projector.double()
    for module in projector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics and scales that do something
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                torch.nn.init.normal_(tensor)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return projector


def convolved(x, block):
    """A convolution (3x3 or 1x1) and batch normalisation in eval mode; x is [c][i][j]."""
    weight, norm = block[0].weight.tolist(), block[1]
    means, variances = norm.running_mean.tolist(), norm.running_var.tolist()
    scales, offsets = norm.weight.tolist(), norm.bias.tolist()
    rows, columns, reach = len(x[0]), len(x[0][0]), len(weight[0][0]) // 2
    result = []
    for o, kernel in enumerate(weight):
        scale = scales[o] / math.sqrt(variances[o] + norm.eps)
        grid = [[0.0] * columns for _ in range(rows)]
        for i in range(rows):
            for j in range(columns):
                total = sum(
                    kernel[c][reach + di][reach + dj] * x[c][i + di][j + dj]
                    for c in range(len(x))
                    for di in range(-reach, reach + 1)
                    for dj in range(-reach, reach + 1)
                    if 0 <= i + di < rows and 0 <= j + dj < columns
                )
                grid[i][j] = (total - means[o]) * scale + offsets[o]
        result.append(grid)
    return result


def fused(x, deeper, attention):
    rows, columns = len(x[0]), len(x[0][0])
    weight, bias = attention.weight[:, :, 0, 0].tolist(), attention.bias.tolist()
    result = [[[0.0] * columns for _ in range(rows)] for _ in x]
    for i in range(rows):
        for j in range(columns):
            down, across = i * len(deeper[0]) // rows, j * len(deeper[0][0]) // columns
            own = [grid[i][j] for grid in x]
            other = [grid[down][across] for grid in deeper]
            first, second = (
                1 / (1 + math.exp(-b - sum(w * v for w, v in zip(row, own + other, strict=True))))
                for row, b in zip(weight, bias, strict=True)
            )
            for c in range(len(x)):
                result[c][i][j] = first * own[c] + second * other[c]
    return result


def slow(projector, levels):
    """Each level's projection of one image, written with loops from the description."""
    mixture, results = None, []
    for level in reversed(range(len(levels))):
        x = convolved(levels[level][0].tolist(), projector.inner[level])
        if mixture is not None:
            x = fused(x, mixture, projector.attention[level])
        mixture = x
        results.insert(0, torch.tensor([convolved(x, projector.outer[level])], dtype=torch.float64))
    return results


@pytest.mark.parametrize(
    "grids",
    [
        [(4, 6), (2, 3)],
        [(5, 3), (2, 2), (1, 2)],
        [(3, 4)],
        [(2, 3), (3, 5)],  # a deeper level that is finer
    ],
)
def test_it_is_what_its_description_says(grids):
    befores, afters = [3, 2, 4][: len(grids)], [2, 5, 3][: len(grids)]
    projector = made(befores, afters, 3).eval()
    levels = [
        torch.randn(1, width, *grid, dtype=torch.float64)
        for width, grid in zip(befores, grids, strict=True)
    ]
    for mine, expected in zip(projector(levels), slow(projector, levels), strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("given", "deepest", "width"), [(0, 40, 40), (0, 700, 512), (24, 40, 24)])
def test_its_inner_width(given, deepest, width):
    projector = ABF(given)
    projector.build([8, deepest], [4, 4])
    assert [block[0].weight.shape[:2] for block in projector.inner] == [
        (width, 8),
        (width, deepest),
    ]
    assert [block[0].weight.shape[:2] for block in projector.outer] == [(4, width)] * 2


def test_only_the_deeper_levels_reach_a_level():
    projector = made([3, 2, 4], [3, 3, 3]).eval()
    levels = [torch.randn(1, width, 4, 4, dtype=torch.float64) for width in (3, 2, 4)]
    before = projector(levels)
    for changed in range(3):
        others = [x + (level == changed) for level, x in enumerate(levels)]
        after = projector(others)
        differs = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        assert differs == [level <= changed for level in range(3)]


def test_the_deepest_level_is_not_mixed():
    assert len(made([3, 2, 4], [3, 3, 3]).attention) == 2
    assert len(made([3], [3]).attention) == 0


def test_a_vector_is_a_map_of_one_position():
    projector = made([3, 4], [2, 5]).eval()
    x, y = torch.randn(2, 3, 4, 4).double(), torch.randn(2, 4).double()
    first, second = projector([x, y])
    assert second.shape == (2, 5)
    expected = projector([x, y[:, :, None, None]])
    assert torch.equal(first, expected[0])
    assert torch.equal(second, expected[1].flatten(1))


def test_one_position_of_one_image_is_refused_in_training_alone():
    projector = made([3, 4], [2, 5])
    levels = [torch.randn(1, 3, 4, 4).double(), torch.randn(1, 4, 1, 1).double()]
    with pytest.raises(LayoutError, match=r"of shape \(1, 4, 1, 1\) has one value a channel"):
        projector(levels)
    projector.eval()(levels)
    projector.train()([x.expand(2, -1, -1, -1) for x in levels])


def test_a_negative_width_is_refused():
    with pytest.raises(ConfigError, match="width of at least 1, or 0, got -1"):
        ABF(-1)
