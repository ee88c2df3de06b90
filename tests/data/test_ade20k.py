import layouts
import pytest

from anyteacher.data import ADE20KData
from anyteacher.errors import DataError


def test_labels_count_from_0_and_the_rest_is_ignored(tmp_path):
    data = ADE20KData(layouts.ade20k(tmp_path))
    assert [len(data.source(split)) for split in ("train", "val", "test")] == [3, 2, 2]
    labels = data.source("val").read(0)["segmentation"]
    assert labels.unique().tolist() == [0, 149, 255]
    assert (labels[0] == 255).all()
    assert data.facts().classes == {"segmentation": 150}


def test_an_image_without_annotation_is_named(tmp_path):
    root = layouts.ade20k(tmp_path)
    (root / "annotations" / "training" / "ADE_train_00000002.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 files are missing; .*ADE_train_00000002.png"):
        ADE20KData(root).dataset("train")
