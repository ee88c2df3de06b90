"""Pascal VOC 2012 (Everingham et al., IJCV 2015): segmentation, 21 classes."""

from pathlib import Path
from typing import Any

from anyteacher.data.augmentation import Augmentation
from anyteacher.data.files import FileSource, Paths, Relabel, need_folder, same_labels
from anyteacher.data.source import ImageData, Source, Split
from anyteacher.errors import DataError, require
from anyteacher.facts import Facts
from anyteacher.normalization import IMAGENET

CLASSES = 21
"""Twenty kinds of objects and the background."""

LAYOUT = "VOCdevkit/VOC2012, with JPEGImages, SegmentationClass and ImageSets/Segmentation in it."

AUGMENTATION = Augmentation(zoom=(0.5, 2.0), color=0.3)


class VOCData(ImageData):
    """Pascal VOC's segmentation: `segmentation`, 21 classes; their outlines are ignored.

    Its test labels are not public: the validation split is the test set, too.

    Args:
        root: Folder with `VOCdevkit`.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training.
        **common: As for `ImageData`.
    """

    def __init__(
        self,
        root: Path,
        size: tuple[int, int] = (512, 512),
        augmentation: Augmentation | None = AUGMENTATION,
        **common: Any,
    ) -> None:
        super().__init__(size, augmentation, **common)
        self.root = Path(root)

    def facts(self) -> Facts:
        """21 classes."""
        return Facts(("segmentation",), {"segmentation": CLASSES}, norm=IMAGENET)

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
        source = FileSource(images, {"segmentation": (masks, reader)})
        source.check_exist()
        return source
