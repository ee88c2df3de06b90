import layouts
import pytest

from anyteacher.data import VOCData, VOCPresenceData
from anyteacher.data.voc import OBJECTS
from anyteacher.errors import ConfigError, DataError


def test_palettes_are_read_as_numbers(tmp_path):
    data = VOCData(layouts.voc(tmp_path))
    assert [len(data.source(split)) for split in ("train", "val", "test")] == [3, 2, 2]
    labels = data.source("train").read(0)["segmentation"]
    assert labels.unique().tolist() == [0, 20, 255]
    assert data.facts().classes == {"segmentation": 21}


def test_a_missing_list_and_a_missing_mask_are_named(tmp_path):
    root = layouts.voc(tmp_path)
    base = root / "VOCdevkit" / "VOC2012"
    (base / "SegmentationClass" / "2007_train_1.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 files are missing; .*2007_train_1.png"):
        VOCData(root).dataset("train")
    (base / "ImageSets" / "Segmentation" / "val.txt").unlink()
    with pytest.raises(DataError, match="Cannot read the list of the split 'val'"):
        VOCData(root).source("val")


def test_lists_say_what_an_image_shows(tmp_path):
    data = VOCPresenceData(layouts.voc_presence(tmp_path))
    assert [len(data.source(split)) for split in ("train", "val", "test")] == [3, 3, 3]
    assert data.facts().classes == {"presence": 20}
    source = data.source("val")
    for place in range(3):
        presence = source.read(place)["presence"]
        shown = [name for name, mark in zip(OBJECTS, presence.tolist(), strict=True) if mark]
        assert shown == [OBJECTS[place], "person", "tvmonitor"]
    assert "2012_val_0.jpg" in data.source("test").name(0)


def test_the_test_lists_of_2007_are_read(tmp_path):
    root = layouts.voc_presence(tmp_path, 2007, ("train", "val", "test"))
    assert "2007_test_0.jpg" in VOCPresenceData(root, year=2007).source("test").name(0)
    with pytest.raises(DataError, match=r"no folder '.*VOC2012'.* with JPEGImages"):
        VOCPresenceData(root).source("train")
    with pytest.raises(ConfigError, match="2007 or 2012, not 2010"):
        VOCPresenceData(root, year=2010)


def test_lists_that_do_not_fit_are_named(tmp_path):
    root = layouts.voc_presence(tmp_path)
    base = root / "VOCdevkit" / "VOC2012"
    path = base / "ImageSets" / "Main" / "cat_train.txt"
    good = path.read_text()
    path.write_text(good.replace("-1", "-2", 1))
    with pytest.raises(DataError, match=r"cat_train.txt' has the line '2012_train_0 -2'"):
        VOCPresenceData(root).source("train")
    path.write_text(good.splitlines()[0])
    with pytest.raises(DataError, match=r"cat_train.txt' lists other images than 'aeroplane_tr"):
        VOCPresenceData(root).source("train")
    path.write_text(good)
    (base / "JPEGImages" / "2012_train_2.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 3 files are missing; .*2012_train_2.jpg"):
        VOCPresenceData(root).dataset("train")
