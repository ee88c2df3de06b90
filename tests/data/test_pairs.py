import layouts
import pytest
import torch

from anyteacher.data import Augmentation, PairsData
from anyteacher.errors import ConfigError, DataError


def pixels(seed):
    return torch.from_numpy(layouts.picture(seed)).permute(2, 0, 1)


@pytest.mark.parametrize("write", [layouts.aligned, layouts.two_folders])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_both_ways_to_store_pairs(tmp_path, write, direction):
    data = PairsData(write(tmp_path), direction)
    assert data.facts().targets == ("target",)
    source = data.source("train")
    assert len(source) == 3
    sample = source.read(1)
    first, second = (sample[key] for key in ("image", "target"))
    if direction == "BtoA":
        first, second = second, first
    assert torch.equal(first, pixels(1))
    assert torch.equal(second, 255 - pixels(1))
    assert len(data.source("val")) == len(data.source("test")) == 2


def test_what_is_no_pair_is_named(tmp_path):
    layouts.save(tmp_path / "train" / "odd.png", layouts.picture(0, 12, 15))
    with pytest.raises(DataError, match=r"odd.png is 15 pixels wide"):
        PairsData(tmp_path).source("train").read(0)
    with pytest.raises(ConfigError, match=r"No direction 'AtoC'. Did you mean AtoB"):
        PairsData(tmp_path, "AtoC")
    with pytest.raises(ConfigError, match=r"augmentation's color at 0; got 0.2"):
        PairsData(tmp_path, augmentation=Augmentation(zoom=(1.0, 1.5), color=0.2))
    root = layouts.two_folders(tmp_path / "two")
    (root / "B" / "train" / "2.bmp").unlink()
    with pytest.raises(DataError, match=r"1 of 3 files are missing; the first is '.*B/train/2.bmp"):
        PairsData(root).dataset("train")


@pytest.mark.parametrize("gone", ["A", "B"])
def test_one_of_the_two_folders_is_asked_for(tmp_path, gone):
    root = layouts.two_folders(tmp_path)
    (root / gone).rename(root / "other")
    with pytest.raises(DataError, match=rf"no folder '.*{gone}/train'"):
        PairsData(root).source("train")


def test_photos_beside_their_masks_are_no_pairs(tmp_path):
    root = layouts.folders(tmp_path)
    with pytest.raises(DataError, match=r"holds folders .*\(depth, images, masks, normals\)"):
        PairsData(root).source("train")
    pairs = layouts.two_folders(tmp_path / "two")  # these may have folders
    for kind, ending in (("A", "png"), ("B", "bmp")):
        layouts.save(pairs / kind / "train" / "in" / f"0.{ending}", layouts.picture(0))
    assert len(PairsData(pairs).source("train")) == 4


def test_bars_are_unknown_in_the_picture_to_be_made(tmp_path):
    data = PairsData(layouts.aligned(tmp_path), size=(16, 40), fit="pad")
    data.setup("fit")
    sample = data.val[0]
    height, width = layouts.picture(0).shape[:2]
    assert 40 - round(width * 16 / height) == sample["target"].isnan().all(0).all(0).sum()
    assert sample["target"].isnan().any(0).sum() == 16 * (40 - round(width * 16 / height))
    assert (sample["image"][:, sample["target"][0].isnan()] == 0).all()
    for place in range(3):  # drawn ones, mirrored or not
        sample = data.train[place]
        bars = sample["target"].isnan()
        assert bars.any()
        # The picture and what is to be made of it are each other's negatives.
        total = (sample["image"] + sample["target"])[~bars]
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=3 / 255)
