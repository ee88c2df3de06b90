import layouts
import pytest
import torch

from anyteacher.data import (
    DigitsData,
    FoldersData,
    ImageNetData,
    PairsData,
    Source,
    UnpairedData,
)
from anyteacher.data.inventory import Inventory, inventories, stored


def whole(data):
    found = {}
    for name, samples in stored(data):
        found[name] = Inventory()
        for look in inventories(samples):
            found[name].add(look)
    return found


def test_sizes_labels_depth_and_broken_files(tmp_path):
    root = layouts.folders(tmp_path)
    layouts.save(root / "train" / "depth" / "walk" / "2.png", layouts.halves(0, 0)[:7])
    path = root / "train" / "images" / "walk" / "1.jpg"
    path.write_bytes(path.read_bytes()[:200])
    data = FoldersData(root, classes=5, ignore=200, max_depth=10.0, depth_scale=1000)
    found = whole(data)
    assert list(found) == ["train", "val"]  # the test pictures are those of val
    train, val = found["train"], found["val"]
    assert (train.samples, len(train.broken), val.samples, val.broken) == (3, 2, 2, [])
    assert "1.jpg" in train.broken[0]
    assert "2.png" in train.broken[1]
    assert train.smallest == train.largest == (12, 16)
    assert val.classes("segmentation") == [0, 4]
    assert val.ignored() == pytest.approx(1 / 12)
    assert (val.nearest, val.farthest) == (1, 3)
    assert val.known / val.pixels == pytest.approx(11 / 12)


def test_labels_of_images_and_more_than_a_byte_holds(tmp_path):
    found = whole(ImageNetData(layouts.imagenet(tmp_path), classes=3))
    assert found["train"].classes("label") == [0, 1, 2]
    many = Inventory(1, labels={"label": torch.tensor([999]).bincount(minlength=256)})
    many.add(Inventory(1, labels={"label": torch.tensor([3]).bincount(minlength=256)}))
    assert many.classes("label") == [3, 999]


def test_pictures_of_other_sizes(tmp_path):
    for i, (height, width) in enumerate([(4, 20), (9, 6)]):
        layouts.save(tmp_path / "train" / f"{i}.png", layouts.picture(i, height, width))
    (tmp_path / "test").mkdir()
    layouts.save(tmp_path / "test" / "0.png", layouts.picture(0, 4, 4))
    train = whole(PairsData(tmp_path))["train"]
    assert (train.smallest, train.largest) == ((4, 3), (9, 10))


def test_both_kinds_of_unpaired_pictures_and_other_data(tmp_path):
    found = whole(UnpairedData(layouts.unpaired(tmp_path)))
    assert {name: part.samples for name, part in found.items()} == {
        "train A": 3, "train B": 5, "val A": 2, "val B": 3,
    }  # fmt: skip
    digits = whole(DigitsData(train_size=20))
    assert [part.samples for part in digits.values()] == [20, 200, 400]
    assert digits["train"].classes("label") == list(range(10))


def test_depth_beyond_what_is_used_is_found_and_not_known(tmp_path):
    data = FoldersData(layouts.folders(tmp_path), max_depth=2.0, depth_scale=1000)
    (look, *_) = inventories(data.source("train"), max_depth=2.0)
    assert (look.nearest, look.farthest) == (1, 3)
    assert look.known / look.pixels == pytest.approx(11 / 24)


def test_normals_are_known_and_face_the_camera(tmp_path):
    root = layouts.folders(tmp_path)
    normals = layouts.picture(0)
    normals[:] = 128
    normals[:6], normals[6:9] = (128, 128, 0), (128, 128, 255)
    layouts.save(root / "train" / "normals" / "walk" / "0.png", normals)
    layouts.save(root / "train" / "normals" / "walk" / "1.png", 255 - layouts.picture(1))
    train = whole(FoldersData(root, normals=True))["train"]
    assert "1.png holds no normals" in train.broken[0]
    assert train.normals == 2 * 12 * 16
    assert train.directed == (9 + 11) * 16
    assert train.facing == 6 * 16


def test_classes_that_images_show(tmp_path):
    class Shown(Source):
        def __len__(self):
            return 2

        def name(self, index):
            return str(index)

        def read(self, index):
            presence = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])[index]
            return {"image": torch.zeros(3, 2, 2, dtype=torch.uint8), "presence": presence}

    found = Inventory()
    for look in inventories(Shown()):
        found.add(look)
    assert found.classes("presence") == [1, 2]
    assert found.labels["presence"][:3].tolist() == [0, 1, 2]


def test_workers_find_the_same(tmp_path):
    data = FoldersData(layouts.folders(tmp_path), classes=5, ignore=200)
    looks = [[vars(look) for look in inventories(data.source("train"), n)] for n in (0, 2)]
    for alone, many in zip(*looks, strict=True):
        assert torch.equal(alone.pop("labels")["segmentation"], many.pop("labels")["segmentation"])
        assert alone == many
