import layouts
import pytest

from anyteacher.data import VOCData
from anyteacher.errors import DataError


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
        VOCData(root).source("train")
    (base / "ImageSets" / "Segmentation" / "val.txt").unlink()
    with pytest.raises(DataError, match="Cannot read the list of the split 'val'"):
        VOCData(root).source("val")
