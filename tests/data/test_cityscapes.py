import layouts
import pytest
import torch

from anyteacher.data import CityscapesData
from anyteacher.data.cityscapes import train_ids
from anyteacher.errors import DataError


def test_labels_become_those_that_are_evaluated(tmp_path):
    data = CityscapesData(layouts.cityscapes(tmp_path))
    assert [len(data.source(split)) for split in ("train", "val", "test")] == [3, 2, 2]
    sample = data.source("train").read(1)
    labels = sample["segmentation"]
    assert labels.unique().tolist() == [0, 18, 255]  # road, bicycle, the own car
    assert (labels[0] == 255).all()
    assert (labels[1:, :8] == 0).all()
    assert torch.equal(sample["image"], torch.from_numpy(layouts.picture(1)).permute(2, 0, 1))


def test_there_are_19_classes():
    assert sorted(set(train_ids().values()) - {255}) == list(range(19))


def test_a_missing_annotation_is_named(tmp_path):
    root = layouts.cityscapes(tmp_path)
    (gone := next((root / "gtFine" / "train").rglob("*.png"))).unlink()
    with pytest.raises(DataError, match=f"1 of 3 files are missing; the first is .*{gone.name}"):
        CityscapesData(root).dataset("train")


def test_no_data_set(tmp_path):
    with pytest.raises(DataError, match=r"no folder .*leftImg8bit.*Give the root .* gtFine"):
        CityscapesData(tmp_path).source("train")


def test_a_label_that_there_is_not(tmp_path):
    root = layouts.cityscapes(tmp_path)
    path = next((root / "gtFine" / "train").rglob("*_000000_*labelIds.png"))
    layouts.save(path, layouts.halves(7, 99))
    with pytest.raises(DataError, match=f"{path.name} holds the label 99, which Cityscapes does"):
        CityscapesData(root).source("train").read(0)
