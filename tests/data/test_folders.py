import layouts
import numpy as np
import pytest
import torch
from PIL import Image

from anyteacher.data import Augmentation, FoldersData
from anyteacher.errors import ConfigError, DataError


def test_masks_depth_and_normals_beside_images(tmp_path):
    root = layouts.folders(tmp_path)
    data = FoldersData(root, classes=5, ignore=200, max_depth=10.0, depth_scale=1000, normals=True)
    assert data.facts().targets == ("segmentation", "depth", "normals")
    assert [len(data.source(split)) for split in ("train", "val", "test")] == [3, 2, 2]
    sample = data.source("train").read(0)
    assert sample["segmentation"].unique().tolist() == [0, 4, 255]
    assert sample["depth"].unique().tolist() == [0, 1, 3]
    assert (sample["normals"][:, 0] == 0).all()
    torch.testing.assert_close(
        sample["normals"][:, 1, 1], torch.tensor([1.0, 0.0, 0.0]), atol=0.01, rtol=0
    )


def test_a_folder_of_test_images_is_taken(tmp_path):
    root = layouts.folders(tmp_path)
    (root / "train").rename(root / "test")
    assert len(FoldersData(root, classes=5, ignore=200).source("test")) == 3


def test_what_is_missing_or_wrong(tmp_path):
    with pytest.raises(ConfigError, match=r"images alone teach nothing. Set classes"):
        FoldersData(tmp_path)
    with pytest.raises(DataError, match=r"There is no folder .*train/images"):
        FoldersData(tmp_path, classes=5).source("train")
    root = layouts.folders(tmp_path)
    with pytest.raises(DataError, match="holds the label 200, which a data set of 5 classes"):
        FoldersData(root, classes=5).source("train").read(0)
    with pytest.raises(ConfigError, match=r"Set depth_scale"):
        FoldersData(root, max_depth=10.0).source("train").read(0)
    (root / "train" / "masks" / "walk" / "1.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 files are missing; .*masks/walk/1.png"):
        FoldersData(root, classes=5, ignore=200).dataset("train")


STRETCHED = Augmentation(area=(0.5, 1.0), ratio=(0.97, 1.03))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": 256, "ignore": 0}, "Masks hold 1 to 255 classes, not 256"),
        ({"classes": 0}, "Masks hold 1 to 255 classes, not 0"),
        ({"classes": -3}, "Masks hold 1 to 255 classes, not -3"),
        ({"classes": 5, "ignore": -1}, "ignore.* is 0 to 255, not -1"),
        ({"classes": 5, "ignore": 300}, "ignore.* is 0 to 255, not 300"),
        ({"max_depth": -1.0}, "max_depth must be a positive number, not -1.0"),
        ({"max_depth": float("nan")}, "max_depth must be a positive number, not nan"),
        ({"max_depth": 9.0, "depth_scale": 0.0}, "depth_scale must be a positive number, not 0.0"),
        ({"normals": True, "augmentation": STRETCHED}, r"ratio at \(1, 1\); got \(0.97, 1.03\)"),
    ],
)
def test_impossible_settings(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        FoldersData(tmp_path, **settings)
    FoldersData(tmp_path, classes=255, ignore=0, augmentation=STRETCHED)  # possible


@pytest.mark.parametrize("masks", ["upright", "stored"])
def test_a_photo_on_its_side_is_seen_as_its_mask_lies(tmp_path, masks):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels, labels = layouts.picture(0), layouts.halves(0, 1)
    if masks == "upright":
        labels = np.rot90(labels, -1)
    for part in ("train", "val"):
        layouts.save(tmp_path / part / "masks" / "0.png", labels)
        (tmp_path / part / "images").mkdir()
        Image.fromarray(pixels).save(tmp_path / part / "images" / "0.png", exif=exif)
    sample = FoldersData(tmp_path, classes=2).source("train").read(0)
    expected = np.rot90(pixels, -1) if masks == "upright" else pixels
    assert torch.equal(sample["image"], torch.from_numpy(expected.copy()).permute(2, 0, 1))
    assert sample["segmentation"].shape == sample["image"].shape[1:]


def test_a_square_photo_lies_as_the_mask_that_was_drawn_on_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = layouts.picture(0, 8, 8)
    layouts.save(tmp_path / "train" / "masks" / "0.png", np.zeros((8, 8), np.uint8))
    (tmp_path / "train" / "images").mkdir()
    stored = Image.fromarray(np.rot90(upright).copy())
    stored.save(tmp_path / "train" / "images" / "0.png", exif=exif)
    sample = FoldersData(tmp_path, classes=2).source("train").read(0)
    assert torch.equal(sample["image"], torch.from_numpy(upright).permute(2, 0, 1))
