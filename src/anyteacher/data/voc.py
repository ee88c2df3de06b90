"""Pascal VOC 2012 (Everingham et al., IJCV 2015): segmentation, 21 classes."""

from pathlib import Path

from anyteacher.data.files import FileSource, Paths, Relabel, need_folder, same_labels
from anyteacher.data.kinds import SceneData
from anyteacher.data.source import Source, Split
from anyteacher.errors import DataError, require

CLASSES = 21
"""Twenty kinds of objects and the background."""

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
        source = FileSource(images, {"segmentation": (masks, reader)})
        source.check_exist()
        return source
