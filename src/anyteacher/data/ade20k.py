"""ADE20K as in the scene parsing challenge (Zhou et al., CVPR 2017): 150 classes."""

from pathlib import Path
from typing import Any

from anyteacher.data.augmentation import Augmentation
from anyteacher.data.files import FileSource, Paths, Relabel, names_in, need_folder, partners
from anyteacher.data.source import ImageData, Source, Split
from anyteacher.facts import IGNORE, Facts
from anyteacher.normalization import IMAGENET

CLASSES = 150
"""The number of classes."""

LAYOUT = "images/{training,validation}/*.jpg and annotations/{training,validation}/*.png."

AUGMENTATION = Augmentation(zoom=(0.5, 2.0), color=0.3)


def table() -> dict[int, int]:
    """The files hold 1 to 150, and 0 for everything else."""
    return {0: IGNORE, **{i + 1: i for i in range(CLASSES)}}


class ADE20KData(ImageData):
    """ADE20K's scene parsing part, `ADEChallengeData2016`: `segmentation`, 150 classes.

    Its test labels are not public: the validation split is the test set, too.

    Args:
        root: Folder with `images` and `annotations`.
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
        """150 classes."""
        return Facts(("segmentation",), {"segmentation": CLASSES}, norm=IMAGENET)

    def source(self, split: Split) -> Source:
        """A split; "test" is "val"."""
        part = "training" if split == "train" else "validation"
        images = need_folder(self.root / "images" / part, LAYOUT)
        labels = need_folder(self.root / "annotations" / part, LAYOUT)
        names = names_in(images)
        masks = Paths(labels, partners(names, labels))
        reader = Relabel(table(), "ADE20K")
        return FileSource(Paths(images, names), {"segmentation": (masks, reader)})
