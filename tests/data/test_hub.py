import datasets
import layouts
import pytest

from anyteacher.data import HubData
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
        ({"image": "photo", "depth": "depth"}, {}, "Set max_depth"),
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
    with pytest.raises(DataError, match="column 'kind' is 7, which is no class of 3"):
        source._value("label", 7, 0)
