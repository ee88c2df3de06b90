"""Pascal VOC (Everingham et al., IJCV 2015): segmentation, and what each image shows."""

from pathlib import Path
from typing import Any, Literal

import torch

from anyteacher.data.augmentation import Augmentation
from anyteacher.data.files import FileSource, Paths, Relabel, lines_of, need_folder, same_labels
from anyteacher.data.kinds import SceneData
from anyteacher.data.source import ImageData, Source, Split
from anyteacher.errors import ConfigError, DataError, require
from anyteacher.facts import Facts
from anyteacher.normalization import IMAGENET

CLASSES = 21
"""Twenty kinds of objects and the background."""

OBJECTS = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
"""The kinds of objects, in the order of their numbers."""

AUGMENTATION = Augmentation(area=(0.25, 1.0), ratio=(3 / 4, 4 / 3))

LAYOUT = "VOCdevkit/VOC2012, with JPEGImages, SegmentationClass and ImageSets/Segmentation in it."


class VOCData(SceneData):
    """Pascal VOC's segmentation: `segmentation`, 21 classes; their outlines are ignored.

    Its test labels are not public: the validation split is the test set, too.

    Args:
        root: Folder with `VOCdevkit`.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training.
        **common: As for `ImageData`.
    """

    classes = CLASSES

    def source(self, split: Split) -> Source:
        """A split; "test" is "val"."""
        need_folder(self.root / "VOCdevkit" / "VOC2012", LAYOUT)
        part = "train" if split == "train" else "val"
        try:
            listed = require("torchvision.datasets").VOCSegmentation(self.root, image_set=part)
        except OSError as error:
            raise DataError(f"Cannot read the list of the split '{part}': {error}") from error
        images, masks = Paths(Path(), listed.images), Paths(Path(), listed.masks)
        reader = Relabel(same_labels(CLASSES), "Pascal VOC")
        return FileSource(images, {"segmentation": (masks, reader)})


class VOCPresenceData(ImageData):
    """Which of Pascal VOC's 20 kinds of objects an image shows: `presence`, of its classification.

    The lists `ImageSets/Main/CLASS_SPLIT.txt` say 1 of an object that is there, -1 of one that is
    not, and 0 where all there are were marked as difficult to see: these count as there. The test
    labels of 2012 are not public: without lists of the split "test" that of "val" tests, too.

    Args:
        root: Folder with `VOCdevkit`.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training.
        year: Of the challenge; most papers on several labels use 2007.
        **common: As for `ImageData`.

    Raises:
        ConfigError: for another year.
    """

    def __init__(
        self,
        root: Path,
        size: tuple[int, int] = (224, 224),
        augmentation: Augmentation | None = AUGMENTATION,
        *,
        year: Literal[2007, 2012] = 2012,
        **common: Any,
    ) -> None:
        super().__init__(size, augmentation, **common)
        if year not in (2007, 2012):
            raise ConfigError(f"The year is 2007 or 2012, not {year}.")
        self.root, self.year = Path(root), year

    def facts(self) -> Facts:
        """The number of classes."""
        return Facts(("presence",), {"presence": len(OBJECTS)}, norm=IMAGENET)

    def source(self, split: Split) -> Source:
        """A split; "test" is "val" where there are no lists of it."""
        base = need_folder(
            self.root / "VOCdevkit" / f"VOC{self.year}",
            f"VOCdevkit/VOC{self.year}, with JPEGImages and ImageSets/Main in it.",
        )
        lists = base / "ImageSets" / "Main"
        listed = split != "test" or (lists / f"{OBJECTS[0]}_test.txt").is_file()
        part = split if listed else "val"
        columns = [_marks(lists / f"{name}_{part}.txt") for name in OBJECTS]
        names = list(columns[0])
        for name, column in zip(OBJECTS, columns, strict=True):
            if column.keys() != columns[0].keys():
                raise DataError(
                    f"'{lists / f'{name}_{part}.txt'}' lists other images than "
                    f"'{OBJECTS[0]}_{part}.txt' does."
                )
        marks = torch.tensor([[column[name] for column in columns] for name in names])
        images = Paths(base / "JPEGImages", [f"{name}.jpg" for name in names])
        return FileSource(images, values={"presence": (marks >= 0).float()})


def _marks(path: Path) -> dict[str, int]:
    """What a list says of each image: 1, 0 or -1."""
    marks = {}
    for line in lines_of(path):
        name, *rest = line.split()
        if rest not in (["1"], ["0"], ["-1"]):
            raise DataError(f"'{path}' has the line '{line}', and needs an image and 1, 0 or -1.")
        marks[name] = int(rest[0])
    return marks
