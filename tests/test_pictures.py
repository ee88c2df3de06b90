import math

import numpy as np
import pytest
import torch
from torch import Tensor

from anyteacher import pictures

# Machado et al. 2009, complete deuteranopia and protanopia, on linear sRGB.
BLINDNESS = {
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}


def linear(colors: Tensor) -> Tensor:
    c = colors.double() / 255
    return torch.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb: Tensor) -> Tensor:
    """CIELAB of linear sRGB: another colour space than the one the scales were made in."""
    to_xyz = torch.tensor(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ).double()
    xyz = (rgb.clamp(0, 1) @ to_xyz.T) / torch.tensor([0.9505, 1.0, 1.089]).double()
    f = torch.where(xyz > 0.008856, xyz ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-1)


@pytest.mark.parametrize("name", ["depth", "error"])
def test_scales_are_even_and_rise_in_lightness(name: str) -> None:
    table = pictures.scale_table(name)
    assert table.shape == (256, 3)
    assert len(table.unique(dim=0)) > 230
    colors = lab(linear(table))
    coarse = colors[::15]  # eight-bit rounding drowns single steps
    assert (coarse[:, 0].diff() > 2).all()
    steps = coarse.diff(dim=0).norm(dim=1)
    assert steps.max() / steps.min() < 2.5
    for matrix in BLINDNESS.values():
        seen = lab(linear(table) @ torch.tensor(matrix).double().T)[::15]
        assert (seen[:, 0].diff() > 1.5).all()


@pytest.mark.parametrize("name", ["depth", "error"])
def test_scales_stay_within_what_a_screen_shows(name: str) -> None:
    """Clipped colours would make runs of the same value in a channel that then jumps."""
    table = pictures.scale_table(name).int()
    assert table.diff(dim=0).abs().max() <= 4
    assert ((table == 0) | (table == 255)).sum(0).max() < 40


def test_oklab_of_known_colours() -> None:
    """From Ottosson's page: white, and the Oklab of sRGB red."""
    known = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0.62796, 0.22486, 0.12585]]).double()
    rgb = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]).double()
    torch.testing.assert_close(pictures.oklab_to_srgb(known), rgb, atol=2e-3, rtol=0)


def test_palette() -> None:
    colors = pictures.palette()
    assert colors.shape == (256, 3)
    assert len(colors.unique(dim=0)) == 256
    assert colors[0].tolist() == [0xE6, 0x9F, 0x00]
    assert colors[255].tolist() == [0, 0, 0]
    first = lab(linear(colors[:8]))
    assert torch.pdist(first).min() > 20


def test_depth_near_is_bright_and_unknown_is_grey() -> None:
    depth = torch.tensor([[1.0, 2.0, 4.0, 0.0, math.nan, math.inf, -1.0]]).reshape(1, 1, 1, 7)
    drawn = pictures.depth(depth)[0, :, 0].T
    table = pictures.scale_table("depth")
    assert torch.equal(drawn[0], table[255])
    assert torch.equal(drawn[2], table[0])
    assert (drawn[1].int() - table[128].int()).abs().max() <= 2  # halfway in ratio
    assert (drawn[3:] == 128).all()


def test_depth_on_the_range_of_another() -> None:
    truth = torch.tensor([[2.0, 8.0], [1.0, 3.0]]).reshape(2, 1, 1, 2)
    guess = torch.tensor([[4.0, 100.0], [0.5, 3.0]]).reshape(2, 1, 1, 2)
    table = pictures.scale_table("depth")
    drawn = pictures.depth(guess, like=truth)
    assert (drawn[0, :, 0, 0].int() - table[128].int()).abs().max() <= 2
    assert torch.equal(drawn[0, :, 0, 1], table[0])
    assert torch.equal(drawn[1, :, 0, 0], table[255])
    assert torch.equal(drawn[1, :, 0, 1], table[0])
    near, far = pictures.depth_range(truth)
    assert near.flatten().tolist() == [2, 1]
    assert far.flatten().tolist() == [8, 3]


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_depth_without_a_range(value: float) -> None:
    drawn = pictures.depth(torch.full((1, 1, 2, 3), value))
    assert drawn.shape == (1, 3, 2, 3)
    assert len(drawn.flatten(2).unique(dim=2)[0].T) == 1


def test_normals_colours() -> None:
    vectors = torch.tensor([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]]).T.reshape(1, 3, 1, 3)
    drawn = pictures.normals(vectors)[0, :, 0].T.tolist()
    assert drawn == [[128, 128, 255], [255, 128, 128], [128, 255, 128]]


def test_error_scale() -> None:
    drawn = pictures.error(torch.tensor([0.0, 0.5, 7.0, math.nan]).reshape(1, 1, 1, 4), 0.5)
    table = pictures.scale_table("error")
    assert torch.equal(drawn[0, :, 0, :3].T, table[[0, 255, 255]])
    assert (drawn[0, :, 0, 3] == 128).all()


def test_image_of_one_and_three_channels() -> None:
    grey = pictures.image(torch.tensor([-1.0, 0.5, 2.0, math.nan]).reshape(1, 1, 1, 4))
    assert grey[0, :, 0].T.tolist() == [[0] * 3, [128] * 3, [255] * 3, [0] * 3]
    assert pictures.image(torch.rand(2, 3, 4, 5)).shape == (2, 3, 4, 5)


@pytest.mark.parametrize("count", [2, 10, 64, 300])
def test_bars_are_as_high_as_their_share(count: int) -> None:
    torch.manual_seed(0)
    shares = torch.rand(3, count)
    drawn = pictures.bars(shares)
    assert drawn.dtype == torch.uint8
    assert drawn.shape == (3, 3, 64, max(64, count))
    filled = (drawn != 255).any(1).float().mean(1)  # of each column
    centre = ((torch.arange(count) + 0.5) * max(64, count) / count).long()
    assert (filled[:, centre] - shares).abs().max() <= 1 / 64
    assert (drawn[:, :, 0] == 255).any()  # the top is free where no share is 1


def test_grid_places_pictures_and_words() -> None:
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).reshape(3, 1, 1).expand(3, 8, 16)
    blue = red.flip(0)
    plain = np.asarray(pictures.grid([[red, blue], [blue]], cell=32))
    assert plain.shape == (2 * 38 + 6, 2 * 38 + 6, 3)
    middle = 6 + 16
    assert plain[middle, middle].tolist() == [255, 0, 0]
    assert plain[middle, middle + 38].tolist() == [0, 0, 255]
    assert plain[middle + 38, middle].tolist() == [0, 0, 255]
    assert plain[middle + 38, middle + 38].tolist() == [255, 255, 255]
    assert (plain[:, :, 0] < 255).sum() == 2 * 32 * 16  # pictures keep their shape
    named = np.asarray(pictures.grid([[red, blue], [blue]], ["a", "b"], ["row", "next"], cell=32))
    assert named.shape[0] == plain.shape[0] + 20
    assert named.shape[1] > plain.shape[1]
    assert named[: 6 + 20].min() < 100  # titles are written
    assert named[:, : named.shape[1] - plain.shape[1]].min() < 100  # and labels
    assert pictures.grid([]).size == (6, 6)
