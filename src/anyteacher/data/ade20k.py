"""ADE20K as in the scene parsing challenge (Zhou et al., CVPR 2017): 150 classes."""

from anyteacher.data.files import Relabel
from anyteacher.data.kinds import SceneData
from anyteacher.data.source import Source, Split
from anyteacher.facts import IGNORE

CLASSES = 150
"""The number of classes."""

LAYOUT = "images/{training,validation}/*.jpg and annotations/{training,validation}/*.png."


def table() -> dict[int, int]:
    """The files hold 1 to 150, and 0 for everything else."""
    return {0: IGNORE, **{i + 1: i for i in range(CLASSES)}}


class ADE20KData(SceneData):
    """ADE20K's scene parsing part, `ADEChallengeData2016`: `segmentation`, 150 classes.

    Its test labels are not public: the validation split is the test set, too.

    Args:
        root: Folder with `images` and `annotations`.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training.
        **common: As for `ImageData`.
    """

    classes = CLASSES

    def source(self, split: Split) -> Source:
        """A split; "test" is "val"."""
        part = "training" if split == "train" else "validation"
        return self._annotated(part, Relabel(table(), "ADE20K"), LAYOUT)
