import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from anyteacher.errors import LayoutError
from anyteacher.layout import (
    Layout,
    channels,
    check,
    detect,
    fills_grid,
    match_grids,
    to_map,
    to_rows,
    to_vector,
)

# Features of real models: the shape, the size of the images, and what they are.
KNOWN = {
    "ResNet, last stage": ((2, 512, 7, 7), (224, 224), Layout("map")),
    "ResNet, non-square": ((2, 256, 3, 5), (48, 80), Layout("map")),
    "ResNet, size not divisible by the stride": ((2, 512, 4, 7), (100, 203), Layout("map")),
    "U-Net, full resolution": ((2, 16, 64, 64), (64, 64), Layout("map")),
    "map as wide as high as deep": ((2, 8, 8, 8), (64, 64), Layout("map")),
    "global map": ((2, 512, 1, 1), (64, 64), Layout("map")),
    "SegFormer, a stage": ((2, 64, 16, 16), (128, 128), Layout("map")),
    "SegFormer, tokens": ((2, 1024, 64), (128, 128), Layout("tokens", 0, (32, 32))),
    "SegFormer, tokens of 48 x 80": ((2, 240, 64), (48, 80), Layout("tokens", 0, (12, 20))),
    "Swin, a stage": ((2, 7, 7, 768), (224, 224), Layout("channels_last")),
    "Swin, non-square": ((2, 12, 20, 96), (48, 80), Layout("channels_last")),
    "Swin, first stage at 64": ((2, 16, 16, 96), (64, 64), Layout("channels_last")),
    "ConvNeXt, inside a block": ((2, 14, 14, 1536), (224, 224), Layout("channels_last")),
    "ViT/16": ((2, 197, 192), (224, 224), Layout("tokens", 1, (14, 14))),
    "ViT/16 at 64": ((2, 17, 192), (64, 64), Layout("tokens", 1, (4, 4))),
    "ViT/16, average pooling": ((2, 196, 192), (224, 224), Layout("tokens", 0, (14, 14))),
    "ViT/16 of 48 x 80": ((2, 16, 192), (48, 80), Layout("tokens", 1, (3, 5))),
    "ViT/16 of 50 x 50, rounded down": ((2, 10, 192), (50, 50), Layout("tokens", 1, (3, 3))),
    "ViT/16 of 50 x 70, padded": ((2, 21, 192), (50, 70), Layout("tokens", 1, (4, 5))),
    "ViT/16, four registers": ((2, 200, 192), (224, 224), Layout("tokens", 4, (14, 14))),
    "DeiT, distilled": ((2, 198, 192), (224, 224), Layout("tokens", 2, (14, 14))),
    "DINOv2/14": ((2, 257, 384), (224, 224), Layout("tokens", 1, (16, 16))),
    "DINOv2/14, registers": ((2, 261, 384), (224, 224), Layout("tokens", 5, (16, 16))),
    "DINOv2/14, registers, at 56 x 84": ((2, 29, 384), (56, 84), Layout("tokens", 5, (4, 6))),
    "DINOv2/14, registers, at 518": ((2, 1374, 384), (518, 518), Layout("tokens", 5, (37, 37))),
    "tokens of text": ((2, 77, 512), (224, 224), Layout("tokens")),
    "a classifier": ((2, 1000), (224, 224), Layout("vector")),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_features_of_real_models_are_found(name):
    shape, image_size, expected = KNOWN[name]
    assert detect(shape, image_size) == expected


class Mix(nn.Module):
    """As a stage of Swin: linear layers and layer normalisation over the last axis."""

    def __init__(self, width):
        super().__init__()
        self.norm, self.mlp = nn.LayerNorm(width), nn.Linear(width, width)


AMBIGUOUS = {
    "Swin-B at 512": ((2, 128, 128, 128), (512, 512), Mix(128), "channels_last"),
    "Swin-B at 512 x 1024": ((2, 64, 128, 256), (512, 1024), Mix(256), "channels_last"),
    "a convolution at 512": ((2, 128, 128, 128), (512, 512), nn.Conv2d(3, 128, 4, 4), "map"),
    "ConvNeXt at 512": (
        (2, 128, 128, 128),
        (512, 512),
        nn.Sequential(nn.Conv2d(128, 128, 7), nn.LayerNorm(128), nn.Linear(128, 128)),
        "map",
    ),
    "of unknown origin": ((2, 128, 128, 128), (512, 512), None, "map"),
    "layers without a width": ((2, 128, 128, 128), (512, 512), nn.ReLU(), "map"),
}


@pytest.mark.parametrize(("shape", "size", "module", "kind"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_the_layers_tell_where_the_shape_does_not(shape, size, module, kind):
    assert detect(shape, size, module) == Layout(kind)


@pytest.mark.parametrize("shape", [(2,), (2, 3, 4, 5, 6), ()])
def test_other_shapes_are_refused(shape):
    with pytest.raises(LayoutError, match=r"neither a map .* Tap another module"):
        detect(shape, (64, 64))


@given(
    stride=st.integers(4, 16),
    rows=st.integers(3, 12),
    columns=st.integers(3, 12),
    prefix=st.sampled_from([0, 1, 2, 5]),
)
def test_tokens_whose_number_is_told_fill_the_grid(stride, rows, columns, prefix):
    """Whatever is detected, a stated prefix leads to the true grid, in the true order."""
    size = (rows * stride, columns * stride)
    tokens = torch.arange(prefix + rows * columns).double().repeat(2, 1)[..., None]
    feature = to_map(tokens, Layout("tokens", prefix), size)
    assert feature.shape == (2, 1, rows, columns)
    expected = prefix + torch.arange(rows * columns).double().reshape(rows, columns)
    assert torch.equal(feature[0, 0], expected)


@given(stride=st.integers(2, 16), height=st.integers(17, 90), width=st.integers(17, 90))
def test_grids_are_found_rounded_either_way(stride, height, width):
    for grid in (
        (height // stride, width // stride),
        (math.ceil(height / stride), math.ceil(width / stride)),
    ):
        count = grid[0] * grid[1]
        same = {
            (h, w)
            for s in range(1, 91)
            for h, w in ((height // s, width // s), (-(-height // s), -(-width // s)))
            if h * w == count
        }
        tokens = torch.zeros(1, count, 1)
        found = tuple(to_map(tokens, Layout("tokens"), (height, width)).shape[2:])
        assert found in same  # the true one, unless another stride gives as many patches


@given(
    batch=st.integers(1, 3), width=st.integers(1, 5), rows=st.integers(1, 6), cols=st.integers(1, 6)
)
def test_one_map_in_every_layout_is_the_same_map(batch, width, rows, cols):
    feature = torch.randn(batch, width, rows, cols, dtype=torch.float64)
    size = (rows * 16, cols * 16)
    last = feature.permute(0, 2, 3, 1)
    front = torch.randn(batch, 3, width, dtype=torch.float64)
    tokens = torch.cat([front, last.reshape(batch, -1, width)], 1)
    stated = Layout("tokens", 3, (rows, cols))
    for given_feature, layout in (
        (feature, Layout("map")),
        (last, Layout("channels_last")),
        (tokens, stated),
        (tokens, Layout("tokens", 3)),
    ):
        assert torch.equal(to_map(given_feature, layout, size), feature)
        torch.testing.assert_close(to_vector(given_feature, layout), feature.mean((2, 3)))
        assert channels(given_feature.shape, layout) == width
    rows_of = to_rows(feature)
    assert rows_of.shape == (batch * rows * cols, width)
    assert torch.equal(rows_of, last.reshape(-1, width))


def test_rows_of_vectors_are_the_vectors():
    vector = torch.randn(4, 3)
    assert torch.equal(to_rows(vector), vector)
    assert torch.equal(to_vector(vector, Layout("vector")), vector)


def test_a_grid_stated_for_one_size_is_found_again_at_another():
    layout = Layout("tokens", 1, (4, 4))
    assert to_map(torch.zeros(1, 17, 2), layout, (64, 64)).shape == (1, 2, 4, 4)
    assert to_map(torch.zeros(1, 16, 2), layout, (48, 80)).shape == (1, 2, 3, 5)


def test_as_many_tokens_of_a_turned_image_make_a_turned_grid():
    layout = Layout("tokens", 1)
    assert to_map(torch.zeros(1, 16, 2), layout, (48, 80)).shape == (1, 2, 3, 5)
    assert to_map(torch.zeros(1, 16, 2), layout, (80, 48)).shape == (1, 2, 5, 3)


def test_tokens_that_fill_no_grid_are_refused():
    with pytest.raises(LayoutError, match=r"77 patch tokens .* State it"):
        to_map(torch.zeros(1, 77, 2), Layout("tokens"), (64, 64))
    assert not fills_grid((1, 77, 2), Layout("tokens"), (64, 64))
    assert not fills_grid((1, 3, 2), Layout("tokens", 3), (64, 64))
    assert fills_grid((1, 77, 2), Layout("tokens", grid=(7, 11)), (64, 64))
    assert fills_grid((1, 77), Layout("vector"), (64, 64))


def test_a_vector_has_no_positions():
    with pytest.raises(LayoutError, match=r'compare="pooled"'):
        to_map(torch.zeros(2, 3), Layout("vector"), (8, 8))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "maps"}, r"Unknown layout 'maps'. Did you mean map\?"),
        ({"kind": "tokens", "prefix": -1}, "-1 is negative"),
        ({"kind": "map", "prefix": 1}, "Only tokens"),
        ({"kind": "vector", "grid": (2, 2)}, "Only tokens"),
    ],
)
def test_impossible_layouts_are_refused(settings, message, unchecked):
    with pytest.raises(LayoutError, match=message):
        Layout(**settings)


def test_a_feature_of_another_rank_is_refused_by_name():
    with pytest.raises(LayoutError, match=r"the feature has shape \(2, 3\): not a map"):
        check(torch.zeros(2, 3), Layout("map"), "the feature")


def adaptive_mean(x, size):
    """Average over the area that each new position covers, cell by cell."""
    result = torch.zeros(*x.shape[:2], *size, dtype=x.dtype)
    for i in range(size[0]):
        for j in range(size[1]):
            top, bottom = i * x.shape[2] // size[0], -(-(i + 1) * x.shape[2] // size[0])
            left, right = j * x.shape[3] // size[1], -(-(j + 1) * x.shape[3] // size[1])
            result[:, :, i, j] = x[:, :, top:bottom, left:right].mean((2, 3))
    return result


def interpolated(x, size):
    """Bilinear interpolation with pixel centres at halves, cell by cell."""
    result = torch.zeros(*x.shape[:2], *size, dtype=x.dtype)
    for i in range(size[0]):
        for j in range(size[1]):
            y = max(0.0, (i + 0.5) * x.shape[2] / size[0] - 0.5)
            z = max(0.0, (j + 0.5) * x.shape[3] / size[1] - 0.5)
            top, left = int(y), int(z)
            below, right = min(top + 1, x.shape[2] - 1), min(left + 1, x.shape[3] - 1)
            dy, dz = y - top, z - left
            result[:, :, i, j] = (
                x[:, :, top, left] * (1 - dy) * (1 - dz)
                + x[:, :, below, left] * dy * (1 - dz)
                + x[:, :, top, right] * (1 - dy) * dz
                + x[:, :, below, right] * dy * dz
            )
    return result


GRIDS = {
    "shrinks": ((3, 4), (6, 8), adaptive_mean),
    "shrinks unevenly": ((3, 5), (7, 8), adaptive_mean),
    "shrinks to a point": ((1, 1), (4, 5), adaptive_mean),
    "grows": ((6, 8), (3, 4), interpolated),
    "one grows": ((3, 8), (6, 4), interpolated),
}


@pytest.mark.parametrize("name", GRIDS)
def test_the_other_side_is_brought_to_the_grid_that_is_kept(name):
    kept, other, reference = GRIDS[name]
    mine = torch.randn(2, 3, *kept, dtype=torch.float64)
    theirs = torch.randn(2, 4, *other, dtype=torch.float64)
    expected = reference(theirs, kept)
    student, teacher = match_grids(mine, theirs)
    assert student is mine
    torch.testing.assert_close(teacher, expected, atol=1e-12, rtol=0)
    student, teacher = match_grids(theirs, mine, to="teacher")
    assert teacher is mine
    torch.testing.assert_close(student, expected, atol=1e-12, rtol=0)


def test_equal_grids_are_left_alone_and_the_way_can_be_chosen():
    a, b = torch.randn(1, 2, 3, 4), torch.randn(1, 5, 3, 4)
    assert match_grids(a, b) == (a, b)
    wide = torch.randn(1, 5, 6, 8)
    torch.testing.assert_close(
        match_grids(a, wide, resize="bilinear")[1], interpolated(wide, (3, 4))
    )
    torch.testing.assert_close(match_grids(wide, a, resize="pool")[1], adaptive_mean(a, (6, 8)))
