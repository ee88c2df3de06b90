import layouts
import numpy as np
import pytest
import torch
from PIL import Image

from anyteacher.data.readers import known_depth, read_metres, read_normals, read_photo
from anyteacher.errors import ConfigError, DataError


def test_only_known_depth_is_kept():
    depth = torch.tensor([[[1.0, 0.0, -2.0, float("inf"), float("nan"), 5.0, 5.1]]])
    assert known_depth(depth, 5.0).tolist() == [[[1, 0, 0, 0, 0, 5, 0]]]


def test_metres_by_a_scale(tmp_path):
    path = layouts.save(tmp_path / "d.png", layouts.halves(512, 60000, np.uint16))
    assert read_metres(path, scale=256).unique().tolist() == [2, 234.375]
    with pytest.raises(ConfigError, match=r"d.png"):
        read_metres(path, scale=None)


def test_normals_have_unit_length_and_grey_is_unknown(tmp_path):
    colours = np.full((2, 2, 3), 128, np.uint8)
    colours[0, 0], colours[0, 1], colours[1, 0] = (0, 128, 128), (218, 218, 128), (128, 128, 255)
    normals = read_normals(layouts.save(tmp_path / "n.png", colours))
    lengths = normals.norm(dim=0)
    torch.testing.assert_close(lengths, torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
    assert normals[0, 0, 0] < -0.99
    assert normals[2, 1, 0] > 0.99
    half = 0.5**0.5
    torch.testing.assert_close(normals[:, 0, 1], torch.tensor([half, half, 0.0]), atol=0.01, rtol=0)


def test_black_white_and_what_lies_between_directions_are_unknown(tmp_path):
    colours = np.full((1, 4, 3), 128, np.uint8)
    colours[0] = (0, 0, 0), (255, 255, 255), (128, 200, 200), (54, 54, 54)
    normals = read_normals(layouts.save(tmp_path / "n.png", colours))
    lengths = normals.norm(dim=0)[0]
    torch.testing.assert_close(lengths, torch.tensor([0.0, 0.0, 0.0, 1.0]))


def test_a_photograph_holds_no_normals(tmp_path):
    noise = np.random.default_rng(0).integers(256, size=(40, 40, 3), dtype=np.uint8)
    path = layouts.save(tmp_path / "n.png", noise)
    with pytest.raises(DataError, match=r"n.png holds no normals: the colours of \d\d%"):
        read_normals(path)


def test_a_photo_lies_as_its_targets_do(tmp_path):
    path, exif = tmp_path / "a.png", Image.Exif()
    exif[0x0112] = 8  # stored lying on its side
    pixels = layouts.picture(0)
    Image.fromarray(pixels).save(path, exif=exif)
    stored = torch.from_numpy(pixels).permute(2, 0, 1)
    upright = torch.rot90(stored, 1, (1, 2))
    assert torch.equal(read_photo(path, []), upright)
    assert torch.equal(read_photo(path, [torch.zeros(16, 12)]), upright)
    assert torch.equal(read_photo(path, [torch.zeros(1, 12, 16)]), stored)
    assert torch.equal(read_photo(path, [torch.zeros(5, 5)]), upright)
    normals = np.full((2, 3, 3), (255, 128, 128), np.uint8)
    Image.fromarray(normals).save(path, exif=exif)  # the vectors would have to turn, too
    assert read_normals(path).shape == (3, 2, 3)
