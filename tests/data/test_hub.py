from pathlib import Path

import datasets
import layouts
import numpy as np
import pytest
import torch
from PIL import Image

from anyteacher.data import Augmentation, HubData
from anyteacher.errors import ConfigError, DataError

COLUMNS = {"image": "photo", "label": "kind"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return layouts.hub(tmp_path_factory.mktemp("hub"))


def test_rows_of_a_saved_table(saved):
    data = HubData(str(saved), COLUMNS, classes=3)
    assert [len(data.source(split)) for split in ("train", "val", "test")] == [3, 2, 2]
    sample = data.source("train").read(2)
    assert int(sample["label"]) == 2
    assert sample["image"].shape == (3, 12, 16)
    assert data.facts().classes == {"label": 3}


def test_masks_and_depth(saved):
    columns = {"image": "photo", "segmentation": "masks", "depth": "depth"}
    data = HubData(str(saved), columns, classes=5, ignore=200, max_depth=10.0, depth_scale=1000)
    sample = data.source("val").read(0)
    assert sample["segmentation"].unique().tolist() == [0, 4, 255]
    assert sample["depth"].unique().tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        ({"image": "photo", "labels": "kind"}, {}, "Nothing reads 'labels'. Did you mean label"),
        ({"image": "photo"}, {}, "Name the columns of the image and of a target"),
        (COLUMNS, {}, "Set the number of classes"),
        (COLUMNS, {"classes": 0}, "at least 1 class, not 0"),
        ({"image": "photo", "segmentation": "masks"}, {"classes": 256}, "Masks hold 1 to 255"),
        ({"image": "photo", "depth": "depth"}, {}, "Set max_depth"),
        ({"image": "photo", "depth": "depth"}, {"max_depth": 0.0}, "max_depth must be a positive"),
        ({"image": "a", "target": "b"}, {"augmentation": Augmentation(color=0.1)}, "color at 0"),
    ],
)
def test_impossible_settings(columns, settings, message):
    with pytest.raises(ConfigError, match=message):
        HubData("x", columns, **settings)


def test_what_the_table_has_not(saved, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"no column 'photos' for image. Did you mean photo"):
        HubData(str(saved), {**COLUMNS, "image": "photos"}, classes=3).source("train")
    with pytest.raises(ConfigError, match="has 3 classes, and the data is set to 4"):
        HubData(str(saved), COLUMNS, classes=4).source("train")
    with pytest.raises(ConfigError, match=r"no split 'valid'. Did you mean validation"):
        HubData(str(saved), COLUMNS, classes=3, val_split="valid").source("val")
    with pytest.raises(DataError, match="Cannot load the data set"):
        HubData(str(tmp_path / "nothing"), COLUMNS, classes=3).source("train")


def test_a_table_without_splits_is_told_from_one_with_them(saved, tmp_path):
    table = datasets.load_from_disk(str(saved))["train"]
    table.save_to_disk(str(tmp_path))
    with pytest.raises(ConfigError, match=r"holds one table without splits.*train, validation"):
        HubData(str(tmp_path), COLUMNS, classes=3).source("train")


def test_a_broken_picture_tells_its_row(saved):
    source = HubData(str(saved), COLUMNS, classes=3).source("train")
    with pytest.raises(DataError, match="row 1, column 'photo'"):
        source._value("image", {"bytes": b"no image", "path": None}, 1)
    with pytest.raises(DataError, match="row 1, column 'photo' is empty"):
        source._value("image", None, 1)
    with pytest.raises(DataError, match="row 1, column 'photo' is empty"):
        source._value("image", {"bytes": None, "path": None}, 1)
    with pytest.raises(DataError, match="column 'kind' is 7, which is no class of 3"):
        source._value("label", 7, 0)
    for wrong in ("cat", 1.0, True, [1], -1):
        with pytest.raises(DataError, match=r"row 0, column 'kind' is .* which is no class of 3"):
            source._value("label", wrong, 0)


def split_of(table, root):
    """A saved data set with one split, to train on."""
    datasets.DatasetDict({"train": table}).save_to_disk(str(root))
    return str(root)


def files(tmp_path, count):
    paths = [tmp_path / f"{i}.png" for i in range(count)]
    return [str(layouts.save(path, layouts.picture(0))) for path in paths]


def test_labels_may_go_beyond_a_byte(tmp_path):
    table = datasets.Dataset.from_dict({"image": files(tmp_path, 2), "label": [0, 299]})
    columns = {"image": "image", "label": "label"}
    data = HubData(split_of(table, tmp_path / "set"), columns, classes=300)
    assert int(data.source("train").read(1)["label"]) == 299


def test_lists_of_classes_are_what_an_image_shows(tmp_path):
    names = datasets.Sequence(datasets.ClassLabel(names=["a", "b", "c"]))
    table = datasets.Dataset.from_dict(
        {"image": files(tmp_path, 3), "objects": [[2, 0], [], [1, 1]]},
        features=datasets.Features({"image": datasets.Image(), "objects": names}),
    )
    name = split_of(table, tmp_path / "set")
    columns = {"image": "image", "presence": "objects"}
    data = HubData(name, columns, classes=3)
    assert data.facts().classes == {"presence": 3}
    source = data.source("train")
    found = torch.stack([source.read(i)["presence"] for i in range(3)])
    assert found.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    for wrong in ([0, 3], ["a"], 1):
        with pytest.raises(DataError, match=r"column 'objects' is .* which is no (class|list)"):
            source._value("presence", wrong, 0)
    with pytest.raises(ConfigError, match="has 3 classes, and the data is set to 4"):
        HubData(name, columns, classes=4).source("train")


@pytest.mark.parametrize("rows", [[[0, 1, 0], [1, 1, 1]], [[1, 0], [0, 1]]])
def test_a_yes_or_no_for_each_class_is_no_list_of_classes(tmp_path, rows):
    classes = len(rows[0])
    columns = {"image": "image", "presence": "objects"}
    table = datasets.Dataset.from_dict({"image": files(tmp_path, 2), "objects": rows})
    name = split_of(table, tmp_path / "numbers")
    source = HubData(name, columns, classes=classes).source("train")
    for index in range(2):
        with pytest.raises(DataError, match=r"objects' is \[.*yes or no for each.*ClassLabel"):
            source.read(index)
    more = HubData(name, columns, classes=classes + 1).source("train")
    assert more.read(0)["presence"].tolist() == [1, 1] + (classes - 1) * [0]
    kinds = datasets.Sequence(datasets.ClassLabel(num_classes=classes))
    name = split_of(table.cast_column("objects", kinds), tmp_path / "classes")
    shown = HubData(name, columns, classes=classes).source("train").read(0)["presence"]
    assert shown.tolist() == [1, 1] + (classes - 2) * [0]


@pytest.mark.parametrize("kind", ["large_string", "binary", "bytes", "path", "bytes and path"])
def test_pictures_that_the_table_does_not_call_so(tmp_path, kind):
    (path,) = files(tmp_path, 1)
    content = Path(path).read_bytes()
    whole = {"bytes": content, "path": path}
    types = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    value, feature = {
        "large_string": (path, datasets.Value("large_string")),
        "binary": (content, types["bytes"]),
        "bytes": ({"bytes": content}, {"bytes": types["bytes"]}),
        "path": ({"path": path}, {"path": types["path"]}),
        "bytes and path": (whole, types),
    }[kind]
    table = datasets.Dataset.from_dict(
        {"photo": [value], "kind": [1]},
        features=datasets.Features({"photo": feature, "kind": datasets.Value("int64")}),
    )
    source = HubData(split_of(table, tmp_path / "set"), COLUMNS, classes=2).source("train")
    assert source.read(0)["image"].shape == (3, 12, 16)


@pytest.mark.parametrize("parts", [{"bytes": 1}, {"bytes": b"", "other": 1}])
def test_parts_that_make_no_picture_are_told(tmp_path, parts):
    table = datasets.Dataset.from_dict({"photo": [parts], "kind": [1]})
    name = split_of(table, tmp_path / "set")
    with pytest.raises(ConfigError, match=r"column 'photo' holds no pictures, but \{'bytes'"):
        HubData(name, COLUMNS, classes=2).source("train")


def test_a_broken_picture_in_another_column_does_no_harm(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    kinds = {"image": datasets.Image(), "other": datasets.Image(), "label": datasets.Value("int64")}
    table = datasets.Dataset.from_dict(
        {"image": files(tmp_path, 1), "other": [str(broken)], "label": [1]},
        features=datasets.Features(kinds),
    )
    columns = {"image": "image", "label": "label"}
    source = HubData(split_of(table, tmp_path / "set"), columns, classes=2).source("train")
    assert set(source.read(0)) == {"image", "label"}


def test_a_column_without_pictures_is_told(saved):
    with pytest.raises(ConfigError, match=r"column 'kind' holds no pictures, but ClassLabel.*Name"):
        HubData(str(saved), {"image": "kind", "label": "kind"}, classes=3).source("train")


@pytest.mark.parametrize(("size", "expected"), [((16, 12), (16, 12)), ((12, 16), (12, 16))])
def test_a_photo_on_its_side_is_seen_as_its_mask_lies(tmp_path, size, expected):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = tmp_path / "photo.png"
    Image.fromarray(layouts.picture(0)).save(photo, exif=exif)
    mask = layouts.save(tmp_path / "mask.png", np.zeros(size, np.uint8))
    kinds = {key: datasets.Image() for key in ("photo", "mask")}
    table = datasets.Dataset.from_dict(
        {"photo": [str(photo)], "mask": [str(mask)]}, features=datasets.Features(kinds)
    )
    name = split_of(table, tmp_path / "set")
    columns = {"image": "photo", "segmentation": "mask"}
    sample = HubData(name, columns, classes=2).source("train").read(0)
    assert sample["image"].shape[1:] == sample["segmentation"].shape == expected
