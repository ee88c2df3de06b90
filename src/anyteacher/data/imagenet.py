"""ImageNet (Russakovsky et al., IJCV 2015), or any folders of images by class."""

from pathlib import Path
from typing import Any

import torch

from anyteacher.data.augmentation import Augmentation
from anyteacher.data.files import FileSource, Paths, lines_of, names_in, need_folder
from anyteacher.data.source import ImageData, Source, Split
from anyteacher.errors import ConfigError, DataError, require
from anyteacher.facts import Facts
from anyteacher.normalization import IMAGENET

LAYOUT = "train/CLASS/* and val/CLASS/*, or val/ILSVRC2012_val_*.JPEG and the devkit."

AUGMENTATION = Augmentation(area=(0.08, 1.0), ratio=(3 / 4, 4 / 3))

_DEVKIT = "ILSVRC2012_devkit_t12/data"


class ImageNetData(ImageData):
    """Images by class: `label`, numbered by the names of the classes' folders in order.

    The validation images lie in folders like those for training, or all in one, as they are
    distributed: then their classes are read from the devkit, `ILSVRC2012_devkit_t12`, beside it.
    Images in a folder `test`, by class, are the test set; without one those of `val` are.

    Args:
        root: Folder with `train` and `val`.
        classes: How many there are.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training.
        **common: As for `ImageData`.
    """

    def __init__(
        self,
        root: Path,
        classes: int = 1000,
        size: tuple[int, int] = (224, 224),
        augmentation: Augmentation | None = AUGMENTATION,
        **common: Any,
    ) -> None:
        super().__init__(size, augmentation, **common)
        self.root, self.classes = Path(root), classes

    def facts(self) -> Facts:
        """As many classes as were set."""
        return Facts(("label",), {"label": self.classes}, norm=IMAGENET)

    def names(self) -> list[str]:
        """The folders of the classes, in the order of their numbers.

        Raises:
            DataError: when there is no such folder.
            ConfigError: when there are more or fewer than was set.
        """
        folder = need_folder(self.root / "train", LAYOUT)
        found = sorted(
            entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."
        )
        if len(found) != self.classes:
            raise ConfigError(
                f"'{folder}' has {len(found)} classes, and the data is set to {self.classes}. Set "
                f"the classes of data, task and student to {len(found)}."
            )
        return found

    def source(self, split: Split) -> Source:
        """A split; "test" is "val" where there is no such folder."""
        part = split if split != "test" or (self.root / "test").is_dir() else "val"
        folder, classes = need_folder(self.root / part, LAYOUT), self.names()
        files = names_in(folder)
        if part == "val" and not any("/" in file for file in files):
            return self._by_devkit(folder, files, classes)
        number = {name: place for place, name in enumerate(classes)}
        labels = [number.get(file.partition("/")[0], -1) for file in files]
        if -1 in labels:
            wrong = folder / files[labels.index(-1)]
            raise DataError(f"'{wrong}' lies in the folder of no class of '{self.root / 'train'}'.")
        return FileSource(Paths(folder, files, found=True), values={"label": torch.tensor(labels)})

    def _by_devkit(self, folder: Path, files: list[str], classes: list[str]) -> Source:
        """The validation images in one folder; the devkit numbers the classes in its own way."""
        devkit = need_folder(self.root / _DEVKIT, LAYOUT)
        truth = lines_of(devkit / "ILSVRC2012_validation_ground_truth.txt")
        if len(truth) != len(files):
            raise DataError(
                f"'{folder}' holds {len(files)} images, and the devkit classes of {len(truth)}."
            )
        places = [_numbered(folder / file, len(truth)) - 1 for file in files]
        numbers = {
            key: classes.index(name) for key, name in _synsets(devkit).items() if name in classes
        }
        try:
            labels = [numbers[int(truth[place])] for place in places]
        except (KeyError, ValueError) as error:
            raise DataError(
                f"The devkit in '{devkit}' gives an image the class {error}, of which there is "
                f"no folder in '{self.root / 'train'}'."
            ) from error
        return FileSource(Paths(folder, files, found=True), values={"label": torch.tensor(labels)})


def _numbered(path: Path, count: int) -> int:
    """The number of a validation image, from 1, which is that of its line in the devkit."""
    digits = path.stem.rpartition("_")[2]
    if not (digits.isdecimal() and 1 <= int(digits) <= count):
        raise DataError(
            f"'{path}' has no number from 1 to {count} at the end of its name, by which the devkit "
            "knows its class."
        )
    return int(digits)


def _synsets(devkit: Path) -> dict[int, str]:
    """The devkit's number of each class, and the name of its folder; the lowest level alone."""
    path = devkit / "meta.mat"
    try:
        synsets = require("scipy.io").loadmat(path, squeeze_me=True)["synsets"]
        rows = [(int(s["ILSVRC2012_ID"]), str(s["WNID"]), int(s["num_children"])) for s in synsets]
    # As in `nyu.read_matlab`: a broken file makes the decoder raise nearly anything.
    except Exception as error:
        raise DataError(f"Cannot read the classes from '{path}': {error}") from error
    return {number: name for number, name, children in rows if children == 0}
