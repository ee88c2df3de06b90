"""NYU Depth v2 (Silberman et al., ECCV 2012): rooms seen by a Kinect, to 10 m."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from anyteacher.data.files import FileSource, Paths, Reader, lines_of, need_folder
from anyteacher.data.kinds import DepthData
from anyteacher.data.readers import known_depth, read_metres
from anyteacher.data.source import Sample, Source, Split
from anyteacher.errors import DataError, require
from anyteacher.facts import IGNORE, Facts
from anyteacher.images import read_labels
from anyteacher.normalization import IMAGENET

CLASSES = 40
"""Those that the 894 names are usually gathered to (Gupta, Arbelaez and Malik, CVPR 2013)."""

LABELED, SPLITS, MAPPING = "nyu_depth_v2_labeled.mat", "splits.mat", "classMapping40.mat"

FOLDERS = "data/nyu2_train.csv, data/nyu2_test.csv and the images and depth maps that they list."


def read_matlab(path: Path, key: str) -> np.ndarray[Any, Any]:
    """A variable of an old MATLAB file, in one dimension.

    Raises:
        DataError: when there is no such file or variable.
    """
    try:
        values: np.ndarray[Any, Any] = require("scipy.io").loadmat(path)[key]
    # A broken file makes the decoder raise nearly anything: IndexError, TypeError, struct.error, …
    except Exception as error:
        raise DataError(f"Cannot read '{key}' from '{path}': {error}") from error
    return values.reshape(-1)


class LabeledSource(Source):
    """The pictures of `nyu_depth_v2_labeled.mat`, in which MATLAB left the axes in reverse.

    Args:
        path: The file; it is HDF5.
        places: Which pictures, from 0.
        classes: What each of its labels becomes, from 0 for none; None to leave them out.

    Raises:
        DataError: when the file cannot be read or has fewer pictures.
    """

    def __init__(
        self,
        path: Path,
        places: Int[np.ndarray[Any, Any], " n"],
        classes: Tensor | None = None,
    ) -> None:
        self.path, self.places, self.classes = path, places, classes
        if not len(places):
            raise DataError(f"'{SPLITS}' lists no pictures of '{path}'.")
        with self._open() as file:
            counts = {key: len(file[key]) for key in self._keys()}
        if len(set(counts.values())) > 1:
            raise DataError(f"'{path}' holds other numbers of each kind of picture: {counts}.")
        count = counts["images"]
        beyond = places[(places < 0) | (places >= count)]
        if len(beyond):
            raise DataError(
                f"'{path}' holds {count} pictures, and '{SPLITS}' asks for number {beyond[0] + 1}."
            )

    def __len__(self) -> int:
        return len(self.places)

    def name(self, index: int) -> str:
        """The file and the number of a picture, counted from 1 as MATLAB does."""
        return f"{self.path}, picture {int(self.places[index]) + 1}"

    def _keys(self) -> tuple[str, ...]:
        return ("images", "depths") if self.classes is None else ("images", "depths", "labels")

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """The file, anew each time: an open one does not outlive a fork into workers."""
        try:
            with require("h5py").File(self.path, "r") as file:
                yield file
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"Cannot read '{self.path}': {error}") from error

    def read(self, index: int) -> Sample:
        """A picture, its depth, and its classes if they are wanted."""
        place = int(self.places[index])
        with self._open() as file:
            image, depth = _upright(file["images"][place]), _upright(file["depths"][place])
            labels = None if self.classes is None else _upright(file["labels"][place]).int()
        sample = {"image": image, "depth": known_depth(depth[None].float())}
        if self.classes is not None and labels is not None:
            if int(labels.max()) >= len(self.classes):
                raise DataError(
                    f"{self.name(index)} holds the label {int(labels.max())}, and "
                    f"'{MAPPING}' ends at {len(self.classes) - 1}."
                )
            sample["segmentation"] = self.classes[labels]
        return sample


def _upright(values: np.ndarray[Any, Any]) -> Tensor:
    """(…, width, height) as (…, height, width)."""
    return torch.from_numpy(np.ascontiguousarray(np.swapaxes(values, -1, -2)))


class NYUv2Data(DepthData):
    """The 1,449 labelled pictures of NYU Depth v2: `depth`, and 40 classes as `segmentation`.

    The root holds `nyu_depth_v2_labeled.mat` and `splits.mat` (795 to train, 654 to test). The
    classes are there where `classMapping40.mat` lies beside them. There is no validation split:
    the test pictures choose the checkpoint, unless a `val_share` is held out.

    Args:
        root: Folder with these files.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training.
        max_depth: Farther depth, in metres, is taken for unknown.
        **common: As for `ImageData`.
    """

    def facts(self) -> Facts:
        """Depth to 10 m, if not set otherwise, and 40 classes if there is a table of them."""
        classes = {"segmentation": CLASSES} if (self.root / MAPPING).is_file() else {}
        return Facts(("depth", *classes), classes, max_depth=self.max_depth, norm=IMAGENET)

    def source(self, split: Split) -> Source:
        """A split; "val" is "test"."""
        key = "trainNdxs" if split == "train" else "testNdxs"
        places = read_matlab(self.root / SPLITS, key).astype(np.int64) - 1
        classes = None
        if (self.root / MAPPING).is_file():
            gathered = read_matlab(self.root / MAPPING, "mapClass")
            wrong = sorted(set(gathered.tolist()) - set(range(CLASSES + 1)))
            if wrong:
                raise DataError(
                    f"'{self.root / MAPPING}' gathers labels to {wrong[:5]}. Its classes go from 1 "
                    f"to {CLASSES}, and 0 is none."
                )
            numbers = [IGNORE if number == 0 else int(number) - 1 for number in gathered]
            classes = torch.tensor([IGNORE, *numbers], dtype=torch.uint8)
        return LabeledSource(self.root / LABELED, places, classes)


def read_bytes(path: Path) -> Float[Tensor, "1 h w"]:
    """Depth of the training files of the folders: 8 bits, of which 255 are 10 m."""
    return known_depth(read_labels(path)[None].float() * (10 / 255))


class NYUv2FoldersData(DepthData):
    """The 50,688 training frames of NYU Depth v2 in folders, with filled-in `depth`.

    As Alhashim and Wonka ("High Quality Monocular Depth Estimation via Transfer Learning", 2018)
    distribute them: two lists of pairs, training depth of 8 bits to 10 m, test depth of 16 bits in
    millimetres. There is no validation split: the 654 test pictures choose the checkpoint, unless
    a `val_share` is held out.

    Args:
        root: Folder with `data`.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training.
        max_depth: Farther depth, in metres, is taken for unknown.
        **common: As for `ImageData`.
    """

    def source(self, split: Split) -> Source:
        """A split; "val" is "test"."""
        need_folder(self.root / "data", FOLDERS)
        path = self.root / "data" / f"nyu2_{'train' if split == 'train' else 'test'}.csv"
        rows = [line.split(",") for line in lines_of(path)]
        if any(len(row) != 2 for row in rows):
            wrong = next(row for row in rows if len(row) != 2)
            raise DataError(f"'{path}' lists pairs of image and depth, and has {','.join(wrong)}.")
        images, depths = (Paths(self.root, names) for names in zip(*rows, strict=True))
        if split == "train":
            reader: Reader = read_bytes
        else:
            reader = partial(read_metres, scale=1000)
        return FileSource(images, {"depth": (depths, reader)})
