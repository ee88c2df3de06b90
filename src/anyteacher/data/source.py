"""Data sets of pictures: what is on disk, and what training sees of it."""

import importlib
from abc import ABC, abstractmethod
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from anyteacher.data.augmentation import (
    Augmentation,
    Fit,
    check_view,
    drawn_view,
    fixed_view,
)
from anyteacher.data.loading import Batch, DataModule, Place
from anyteacher.data.readers import known_depth
from anyteacher.errors import ConfigError, DataError, require
from anyteacher.normalization import ImageNorm

Split = Literal["train", "val", "test"]
Sample: TypeAlias = dict[str, Tensor]

_HELD_OUT = 17  # the seed of which images validate; any would do, as long as it never changes


PIXELS = ("image", "target", "segmentation", "depth", "normals")
"""The keys of a sample that belong to the pixels of its image."""


class Source(ABC):
    """One split of a data set as it is stored: pictures of any size, nothing drawn by chance."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def name(self, index: int) -> str:
        """Where a sample is stored: the path of its file, or of its files."""

    def check_exist(self) -> None:  # noqa: B027
        """Makes sure that all files are there, before hours are spent; by default nothing.

        Raises:
            DataError: when some are missing.
        """

    @abstractmethod
    def read(self, index: int) -> Sample:
        """A sample as plain tensors.

        `image` (3, h, w), uint8, and of the others those that the data set has: `segmentation`
        (h, w), uint8, 255 where no class is known; `depth` (1, h, w) in metres, however
        far, 0 where unknown; `normals` (3, h, w), unit, zero where unknown; `label` (), int64;
        `presence` (classes,), 1 where the image shows the class and else 0; `target` (3, h, w),
        uint8, the picture to be made of the image. Where depth is cut out of a larger picture,
        `extent` (4,), int64, says where that lies: top, left, height and width, in pixels.

        Raises:
            DataError: when a file is missing, broken or not what it should be, with its path.
        """


def height_and_width(sample: Sample, name: str) -> tuple[int, int]:
    """The size that all pixels of a sample have.

    Args:
        sample: A sample as it was read.
        name: Its files, for the message.

    Raises:
        DataError: when they have several.
    """
    sizes = {key: (sample[key].shape[-2], sample[key].shape[-1]) for key in PIXELS if key in sample}
    if len(set(sizes.values())) > 1:
        described = ", ".join(f"{key} {h} x {w}" for key, (h, w) in sizes.items())
        turned = (
            " One of them lies on its side: photos are turned as their camera stored (EXIF), and "
            "masks, depth and normals never are."
        )
        sideways = len({tuple(sorted(size)) for size in sizes.values()}) == 1
        raise DataError(
            f"{name}: the sizes differ ({described}, height x width). What belongs to a picture "
            f"must have its size.{turned if sideways else ''}"
        )
    return sizes["image"]


class Part(Source):
    """Some samples of a source.

    Args:
        source: All of them.
        places: Which ones.
    """

    def __init__(self, source: Source, places: list[int]) -> None:
        self.source, self.places = source, torch.tensor(places)

    def __len__(self) -> int:
        return len(self.places)

    def name(self, index: int) -> str:
        """Where a sample is stored."""
        return self.source.name(int(self.places[index]))

    def check_exist(self) -> None:
        """Makes sure that all files are there, also those of the samples that are left out."""
        self.source.check_exist()

    def read(self, index: int) -> Sample:
        """A sample."""
        return self.source.read(Place(int(self.places[index]), getattr(index, "epoch", 0)))


class ImageDataset(Dataset[Batch]):
    """A source as training sees it: pictures of one size, and their `index`.

    What is drawn for a picture depends on the seed, the epoch and its place alone, whichever
    process reads it, and in whatever order.

    Args:
        source: Where the samples come from.
        size: Height and width of the pictures.
        fit: How a picture of another shape comes to this size.
        augmentation: What varies; None for the view of validation.
        norm: Whose mean is the colour of what is outside of a picture.
        seed: Of what varies.
        max_depth: Farther depth of the files, in metres, is taken for unknown; None for none.
    """

    def __init__(
        self,
        source: Source,
        size: tuple[int, int],
        *,
        fit: Fit = "crop",
        augmentation: Augmentation | None = None,
        norm: ImageNorm | None = None,
        seed: int = 0,
        max_depth: float | None = None,
    ) -> None:
        check_view(size, fit)
        require("torchvision")
        self.source, self.size, self.fit = source, size, fit
        self.augmentation, self.seed, self.norm = augmentation, seed, norm or ImageNorm()
        self.max_depth = max_depth

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Batch:
        """One sample; a `Place` draws for its epoch, a plain number for the first."""
        if not 0 <= index < len(self):
            raise IndexError(f"Sample {index} of {len(self)}.")
        # It needs torchvision, which takes a second to import.
        transforms: Any = importlib.import_module("anyteacher.data.transforms")
        sample = self.source.read(index)
        if "depth" in sample and self.max_depth is not None:
            sample["depth"] = known_depth(sample["depth"], self.max_depth)
        picture = height_and_width(sample, self.source.name(index))
        if self.augmentation is None:
            view = fixed_view(picture, self.size, self.fit)
        else:
            random = np.random.default_rng((self.seed, getattr(index, "epoch", 0), index))
            view = drawn_view(picture, self.size, self.fit, self.augmentation, random)
        whole = sample.pop("extent", torch.tensor([0, 0, *picture]))
        moved: Batch = transforms.apply(view, sample, self.norm)
        if "depth" in moved and self.augmentation is None:
            # Protocols measure depth in a part of the whole picture.
            moved["extent"] = torch.tensor(view.extent(whole.tolist()))
        return {**moved, "index": torch.tensor(int(index))}


class ImageData(DataModule, ABC):
    """Data sets of pictures on disk.

    Args:
        size: Height and width of the pictures that the student sees.
        augmentation: What varies from one sight of a training picture to the next; null for
            nothing.
        fit: How a picture of another shape comes to the size: `crop` sees its middle, `pad` all of
            it, with bars that no metric counts.
        val_share: The share of the training pictures that is held out to choose the best
            checkpoint, the same for everyone. At 0 the data set's own validation split does that;
            where it has no other, the test pictures, as most papers have it.
        batch_size: images a batch and process.
        num_workers: worker processes of each loader.
        seed: of the order of training, and of what varies.
    """

    def __init__(
        self,
        size: tuple[int, int] = (224, 224),
        augmentation: Augmentation | None = None,
        *,
        fit: Fit = "crop",
        val_share: float = 0.0,
        batch_size: int = 16,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        check_view(size, fit)
        if not 0 <= val_share < 1:
            raise ConfigError(f"val_share lies in [0, 1), got {val_share}.")
        if seed < 0:
            raise ConfigError(f"The seed must not be negative, got {seed}.")
        self.size, self.augmentation, self.fit = size, augmentation, fit
        self.val_share = val_share

    @abstractmethod
    def source(self, split: Split) -> Source:
        """A split of the data set as it is stored.

        Of its files some may be missing, which `Source.check_exist` tells before training.

        Raises:
            DataError: when folders or lists are.
        """

    def part(self, split: Split) -> Source:
        """The samples that train, validate or test."""
        if not self.val_share or split == "test":
            return self.source(split)
        source = self.source("train")
        order = np.random.default_rng(_HELD_OUT).permutation(len(source))
        held_out = round(self.val_share * len(source))
        if not 0 < held_out < len(source):
            raise ConfigError(
                f"A val_share of {self.val_share} of {len(source)} training pictures leaves "
                f"{held_out} to validate and {len(source) - held_out} to train."
            )
        chosen = order[:held_out] if split == "val" else order[held_out:]
        return Part(source, sorted(chosen.tolist()))

    def parts(self, split: Split) -> dict[str, Source]:
        """What `anyteacher data check` reads of a split, by a name for each."""
        return {split: self.part(split)}

    def check_there(self) -> None:
        """Refuses a root that is no folder.

        Raises:
            DataError: then.
        """
        root = getattr(self, "root", None)  # what is fetched from a hub has none
        if root is not None and not root.is_dir():
            raise DataError(
                f"There is no folder '{root}' for {type(self).__name__} to read. Give the root of "
                "the data set (--data.root); docs/data.md says what it holds."
            )

    def dataset(self, split: Split) -> Dataset[Batch]:
        """The samples that train, validate or test, as the student sees them."""
        return self._seen(self.part(split), split)

    def _seen(self, source: Source, split: Split) -> ImageDataset:
        source.check_exist()
        facts = self.facts()
        return ImageDataset(
            source,
            self.size,
            fit=self.fit,
            augmentation=self.augmentation if split == "train" else None,
            norm=facts.norm,
            seed=self.seed,
            max_depth=facts.max_depth,
        )

    def setup(self, stage: str) -> None:
        """Makes the data sets that a stage needs."""
        if stage == "fit":
            self.train = self.dataset("train")
        if stage in ("fit", "validate"):
            self.val = self.dataset("val")
        if stage == "test":
            self.test = self.dataset("test")
