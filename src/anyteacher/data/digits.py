"""Handwritten digits: a small set of real images that is always there.

The 1,797 images of 8 x 8 that scikit-learn ships (test part of "Optical Recognition of Handwritten
Digits", Alpaydin and Kaynak, UCI repository, 1998). Test and validation images are the same for
everyone; any share of the rest trains.
"""

from functools import cache
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from anyteacher.data.loading import Batch, DataModule, Samples
from anyteacher.data.rooms.rng import uniform
from anyteacher.errors import ConfigError, require
from anyteacher.facts import Facts

CLASSES = tuple(str(digit) for digit in range(10))
"""Names of the classes."""

TEST_SIZE = 400
"""Test images: 40 of each class."""

VAL_SIZE = 200
"""Validation images: 20 of each class."""

TRAIN_SIZE = 1197
"""Images that are left for training: 114 to 123 of each class."""

_SPLIT_SEED = 8  # of the fixed splits; any number would do, as long as it never changes


@cache
def _load() -> tuple[Float[Tensor, "n 1 8 8"], Int[Tensor, " n"]]:
    bunch = require("sklearn.datasets").load_digits()
    images = torch.from_numpy(bunch.images).to(torch.float32)[:, None] / 16.0
    return images, torch.from_numpy(bunch.target).to(torch.int64)


def _by_class(indices: Tensor, labels: Tensor, seed: int) -> Int[Tensor, " n"]:
    """Shuffled and dealt: one image of each class, then another of each class, and so on."""
    draws = uniform(torch.tensor([seed]), len(indices))[0]
    shuffled = indices[torch.argsort(draws, stable=True)]
    member = labels[shuffled][:, None] == torch.arange(len(CLASSES))
    turn = (member.cumsum(0) * member).sum(1)
    return shuffled[torch.argsort(turn, stable=True)]


def _indices(split: str, train_size: int | float, seed: int) -> Int[Tensor, " n"]:
    labels = _load()[1]
    dealt = _by_class(torch.arange(len(labels)), labels, _SPLIT_SEED)
    if split == "test":
        return dealt[:TEST_SIZE]
    if split == "val":
        return dealt[TEST_SIZE : TEST_SIZE + VAL_SIZE]
    return _by_class(dealt[TEST_SIZE + VAL_SIZE :], labels, seed)[: _count(train_size)]


def _count(train_size: int | float) -> int:
    share = isinstance(train_size, float)
    count = round(train_size * TRAIN_SIZE) if share else int(train_size)
    if not 1 <= count <= TRAIN_SIZE:
        raise ConfigError(
            f"The digits' train_size must be a number of images from 1 to {TRAIN_SIZE} or a share "
            f"above 0.0 and up to 1.0; got {train_size!r}."
        )
    return count


class DigitsDataset(Dataset[Batch]):
    """Images (1, 8, 8) in [0, 1], their labels and places: {"image", "label", "index"}.

    Args:
        split: which images; "test" (400) and "val" (200) are fixed.
        train_size: of "train", how many of the 1,197 images (an int) or which share of them (a
            float). As many of each class as can be; fewer are a part of more for the same seed.
        seed: which training images are chosen.

    Raises:
        ConfigError: when there is no such split or `train_size` is out of range.

    >>> len(DigitsDataset("train", train_size=50)), len(DigitsDataset("test"))
    (50, 400)
    """

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        train_size: int | float = 1.0,
        seed: int = 0,
    ) -> None:
        if split not in ("train", "val", "test"):
            raise ConfigError(f"The digits have no split {split!r}. Known: train, val, test.")
        self.indices = _indices(split, train_size, seed)
        images, labels = _load()
        self.images, self.labels = images[self.indices], labels[self.indices]
        self.places = torch.arange(len(self.indices))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        """One image, its label, and its place in this data set."""
        return self._at(index)

    def __getitems__(self, indices: list[int]) -> Samples:
        """A whole batch at once."""
        return Samples(self._at(indices))

    def _at(self, which: int | list[int]) -> Batch:
        parts = {"image": self.images, "label": self.labels, "index": self.places}
        return {key: values[which] for key, values in parts.items()}


class DigitsData(DataModule):
    """Scikit-learn's handwritten digits, ten classes, with a fixed test set.

    Args:
        batch_size: images a batch and process.
        train_size: how many of the 1,197 training images (an int), or which share (a float).
        seed: which training images are chosen, and their order.
        num_workers: worker processes of each loader; the data are in memory, so 0 is fastest.
    """

    def __init__(
        self,
        batch_size: int = 64,
        train_size: int | float = 1.0,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        _count(train_size)
        self.train_size = train_size

    def facts(self) -> Facts:
        """Ten classes."""
        return Facts(("label",), {"label": len(CLASSES)})

    def setup(self, stage: str) -> None:
        """Makes the three data sets."""
        self.train = DigitsDataset("train", self.train_size, self.seed)
        self.val, self.test = DigitsDataset("val"), DigitsDataset("test")
