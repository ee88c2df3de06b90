"""COCO-Stuff (Caesar, Uijlings and Ferrari, CVPR 2018): things and stuff, 171 classes."""

from anyteacher.data.files import Relabel
from anyteacher.data.kinds import SceneData
from anyteacher.data.source import Source, Split
from anyteacher.facts import IGNORE

CLASSES = 171
"""80 things and 91 kinds of stuff."""

LAYOUT = "images/{train2017,val2017}/*.jpg and annotations/{train2017,val2017}/*.png."

# Numbers that COCO once planned and never drew, as the files have them: one less than its own.
_UNUSED = frozenset({11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90})


def table() -> dict[int, int]:
    """The files hold 0 to 181 with eleven gaps, and 255 for nothing."""
    used = [number for number in range(182) if number not in _UNUSED]
    return {IGNORE: IGNORE, **{number: place for place, number in enumerate(used)}}


class COCOStuffData(SceneData):
    """COCO-Stuff with the 2017 split: `segmentation`, 171 classes.

    The annotations are those of `stuffthingmaps_trainval2017.zip`. Test labels are not public: the
    validation split is the test set, too.

    Args:
        root: Folder with `images` and `annotations`.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training.
        **common: As for `ImageData`.
    """

    classes = CLASSES

    def source(self, split: Split) -> Source:
        """A split; "test" is "val"."""
        part = "train2017" if split == "train" else "val2017"
        return self._annotated(part, Relabel(table(), "COCO-Stuff"), LAYOUT)
