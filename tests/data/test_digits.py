import pytest
import torch
from sklearn.datasets import load_digits

from anyteacher.data import DigitsData, DigitsDataset
from anyteacher.data.digits import CLASSES, TEST_SIZE, TRAIN_SIZE, VAL_SIZE
from anyteacher.errors import ConfigError


def test_splits_have_their_sizes_and_share_no_image():
    parts = [DigitsDataset(split) for split in ("train", "val", "test")]
    assert [len(p) for p in parts] == [TRAIN_SIZE, VAL_SIZE, TEST_SIZE] == [1197, 200, 400]
    indices = torch.cat([p.indices for p in parts])
    assert indices.sort().values.tolist() == list(range(1797))


def test_images_and_labels_are_those_of_scikit_learn():
    data, source = DigitsDataset("test"), load_digits()
    for i in (0, 17, 399):
        index = int(data.indices[i])
        sample = data[i]
        assert sample["image"].shape == (1, 8, 8)
        assert torch.equal(sample["image"][0] * 16, torch.tensor(source.images[index]).float())
        assert sample["label"] == source.target[index]
    assert data.images.min() == 0
    assert data.images.max() == 1
    assert data.labels.dtype == torch.int64


def test_each_image_has_its_place_in_the_set():
    data = DigitsDataset("train", 50, seed=2)
    assert data[7]["index"] == 7
    assert data[7]["index"].dtype == torch.int64
    batch = data.__getitems__([3, 41]).batch
    assert batch["index"].tolist() == [3, 41]
    assert torch.equal(batch["image"], data.images[[3, 41]])
    assert torch.equal(batch["label"], data.labels[[3, 41]])


def test_splits_are_stratified():
    assert DigitsDataset("test").labels.bincount().tolist() == [40] * 10
    assert DigitsDataset("val").labels.bincount().tolist() == [20] * 10
    for size in (10, 50, 57, 600):
        counts = DigitsDataset("train", size, seed=4).labels.bincount(minlength=10)
        assert counts.sum() == size
        assert counts.max() - counts.min() <= 1


def test_test_and_validation_are_the_same_for_everyone():
    for split in ("val", "test"):
        chosen = DigitsDataset(split, 50, seed=9).indices
        assert torch.equal(chosen, DigitsDataset(split, 0.3, seed=1).indices)


def test_training_images_are_chosen_by_seed_and_nested_by_size():
    small = DigitsDataset("train", 50, seed=1).indices
    assert torch.equal(small, DigitsDataset("train", 50, seed=1).indices)
    assert torch.equal(small, DigitsDataset("train", 200, seed=1).indices[:50])
    other = DigitsDataset("train", 50, seed=2).indices
    assert len(set(small.tolist()) & set(other.tolist())) < 15


def test_size_is_a_number_or_a_share():
    assert len(DigitsDataset("train", 0.5)) == round(0.5 * TRAIN_SIZE)
    assert len(DigitsDataset("train", 1)) == 1
    assert len(DigitsDataset("train", 1.0)) == TRAIN_SIZE


@pytest.mark.parametrize("size", [0, 0.0, -3, 1198, 1.5, 0.0001])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ConfigError, match=r"from 1 to 1197 or a share .* got"):
        DigitsData(train_size=size)


def test_unknown_split_is_refused():
    with pytest.raises(ConfigError, match="no split 'training'"):
        DigitsDataset("training")


def test_data_module():
    data = DigitsData(batch_size=64, train_size=50, seed=3)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert [tuple(b["image"].shape) for b in batches] == [(50, 1, 8, 8)]
    assert sum(len(b["label"]) for b in data.val_dataloader()) == VAL_SIZE
    assert sum(len(b["label"]) for b in data.test_dataloader()) == TEST_SIZE
    assert len(CLASSES) == 10


def test_the_data_tells_its_classes():
    facts = DigitsData().facts()
    assert (facts.targets, facts.classes) == (("label",), {"label": 10})
