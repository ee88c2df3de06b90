import layouts
import pytest
import torch

from anyteacher.data import Augmentation, Place, UnpairedData
from anyteacher.errors import ConfigError, DataError


def made(root, **settings):
    data = UnpairedData(root, size=(12, 16), augmentation=None, **settings)
    data.setup("fit")
    data.setup("test")
    return data


def blue(image):
    """The seed of a picture, by its blue channel."""
    return round(float(image[2].mean()) * 255 / 20)


def test_each_picture_comes_with_one_of_the_other_kind(tmp_path):
    data = made(layouts.unpaired(tmp_path))
    assert [len(part) for part in (data.train, data.val, data.test)] == [3, 3, 3]
    assert "once" not in data.train[0]
    assert blue(data.train[1]["image"]) == 1
    others = [[blue(data.train[Place(i, e)]["unpaired"]) for i in range(3)] for e in range(6)]
    assert {seed for row in others for seed in row} == {5, 6, 7, 8, 9}
    assert len({tuple(row) for row in others}) > 3  # drawn anew in every epoch
    again = made(layouts.unpaired(tmp_path))
    assert torch.equal(again.train[Place(2, 4)]["unpaired"], data.train[Place(2, 4)]["unpaired"])
    assert [blue(data.val[i]["unpaired"]) for i in range(3)] == [5, 6, 7]


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_all_of_both_kinds_are_measured_and_each_once(tmp_path, direction):
    data = made(layouts.unpaired(tmp_path), direction=direction, batch_size=2)
    kinds = {"A": [0, 1], "B": [5, 6, 7]}
    batches = list(data.test_dataloader())
    for place, (key, kind) in enumerate(zip(("image", "unpaired"), direction[::3], strict=True)):
        pictures = torch.cat([batch[key][batch["once"][:, place]] for batch in batches])
        assert sorted(blue(picture) for picture in pictures) == sorted(kinds[kind])
        assert sum(len(batch[key]) for batch in batches) == 3


def test_the_other_direction_and_what_is_wrong(tmp_path):
    root = layouts.unpaired(tmp_path)
    data = made(root, direction="BtoA")
    assert len(data.train) == 5
    assert blue(data.train[0]["image"]) == 5
    assert list(data.parts("train")) == ["train B", "train A"]
    with pytest.raises(ConfigError, match="No direction"):
        UnpairedData(root, "B")
    with pytest.raises(ConfigError, match=r"leave val_share at 0, not 0.5"):
        UnpairedData(root, val_share=0.5)
    for settings in ({"fit": "pad"}, {"augmentation": Augmentation(zoom=(0.8, 1.0))}):
        with pytest.raises(ConfigError, match="Bars around a picture would be taken for a part"):
            UnpairedData(root, **settings)
    (root / "trainA").rename(root / "other")
    with pytest.raises(DataError, match=r"There is no folder .*trainA"):
        UnpairedData(root).source("train")
