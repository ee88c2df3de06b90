"""COCO-Stuff (Caesar, Uijlings and Ferrari, CVPR 2018): things and stuff, 171 classes."""

from pathlib import Path
from typing import Any

from anyteacher.data.augmentation import Augmentation
from anyteacher.data.files import FileSource, Paths, Relabel, names_in, need_folder, partners
from anyteacher.data.source import ImageData, Source, Split
from anyteacher.facts import IGNORE, Facts
from anyteacher.normalization import IMAGENET

CLASSES = 171
"""80 things and 91 kinds of stuff."""

LAYOUT = "images/{train2017,val2017}/*.jpg and annotations/{train2017,val2017}/*.png."

AUGMENTATION = Augmentation(zoom=(0.5, 2.0), color=0.3)

# Numbers that COCO once planned and never drew, as the files have them: one less than its own.
_UNUSED = frozenset({11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90})


def table() -> dict[int, int]:
    """The files hold 0 to 181 with eleven gaps, and 255 for nothing."""
    used = [number for number in range(182) if number not in _UNUSED]
    return {IGNORE: IGNORE, **{number: place for place, number in enumerate(used)}}


class COCOStuffData(ImageData):
    """COCO-Stuff with the 2017 split: `segmentation`, 171 classes.

    The annotations are those of `stuffthingmaps_trainval2017.zip`. Test labels are not public: the
    validation split is the test set, too.

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
        """171 classes."""
        return Facts(("segmentation",), {"segmentation": CLASSES}, norm=IMAGENET)

    def source(self, split: Split) -> Source:
        """A split; "test" is "val"."""
        part = "train2017" if split == "train" else "val2017"
        images = need_folder(self.root / "images" / part, LAYOUT)
        labels = need_folder(self.root / "annotations" / part, LAYOUT)
        names = names_in(images)
        masks = Paths(labels, partners(names, labels))
        reader = Relabel(table(), "COCO-Stuff")
        return FileSource(Paths(images, names), {"segmentation": (masks, reader)})
