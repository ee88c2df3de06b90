import layouts
import pytest

from anyteacher.data import COCOStuffData
from anyteacher.data.coco_stuff import table
from anyteacher.errors import DataError


def test_gaps_in_the_numbers_are_closed(tmp_path):
    data = COCOStuffData(layouts.coco_stuff(tmp_path))
    labels = data.source("train").read(2)["segmentation"]
    assert labels.unique().tolist() == [11, 170, 255]
    assert sorted(set(table().values()) - {255}) == list(range(171))
    assert [len(data.source(split)) for split in ("train", "val", "test")] == [3, 2, 2]


def test_a_number_that_was_never_drawn(tmp_path):
    root = layouts.coco_stuff(tmp_path)
    layouts.save(root / "annotations/train2017/000000000000.png", layouts.halves(11, 0))
    with pytest.raises(DataError, match=r"000000000000.png holds the label 11, which COCO-Stuff"):
        COCOStuffData(root).source("train").read(0)
