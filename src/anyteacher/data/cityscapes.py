"""Cityscapes (Cordts et al., CVPR 2016): street scenes with 19 classes."""

from pathlib import Path
from typing import Any

from anyteacher.data.augmentation import Augmentation
from anyteacher.data.files import FileSource, Paths, Relabel, names_in, need_folder
from anyteacher.data.kinds import SCENES, SceneData
from anyteacher.data.source import Source, Split
from anyteacher.errors import require
from anyteacher.facts import IGNORE

CLASSES = 19
"""Those that are evaluated."""

LAYOUT = "leftImg8bit/SPLIT/CITY/*_leftImg8bit.png and gtFine/SPLIT/CITY/*_gtFine_labelIds.png."


def train_ids() -> dict[int, int]:
    """From the numbers in the files to the 19 that are evaluated."""
    known = require("torchvision.datasets").Cityscapes.classes
    table = {c.id: c.train_id for c in known if c.id >= 0}
    return {**table, IGNORE: IGNORE}


class CityscapesData(SceneData):
    """Cityscapes with fine annotations: `segmentation`, 19 classes, from `labelIds`.

    Its test labels are not public: the validation split is the test set, too.

    Args:
        root: Folder with `leftImg8bit` and `gtFine`.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training.
        **common: As for `ImageData`.
    """

    classes = CLASSES

    def __init__(
        self,
        root: Path,
        size: tuple[int, int] = (512, 1024),
        augmentation: Augmentation | None = SCENES,
        **common: Any,
    ) -> None:
        super().__init__(root, size, augmentation, **common)

    def source(self, split: Split) -> Source:
        """A split; "test" is "val"."""
        part = "train" if split == "train" else "val"
        images = need_folder(self.root / "leftImg8bit" / part, LAYOUT)
        labels = need_folder(self.root / "gtFine" / part, LAYOUT)
        ending = "_leftImg8bit.png"
        names = names_in(images, ending)
        theirs = [f"{name.removesuffix(ending)}_gtFine_labelIds.png" for name in names]
        masks = Paths(labels, theirs)
        reader = Relabel(train_ids(), "Cityscapes")
        return FileSource(Paths(images, names, found=True), {"segmentation": (masks, reader)})
