"""What data sets of one kind have in common: their settings, and what they say of themselves."""

from abc import ABC
from pathlib import Path
from typing import Any, ClassVar, Literal

from anyteacher.data.augmentation import Augmentation, check_kept
from anyteacher.data.files import FileSource, Paths, Relabel, names_in, need_folder, partners
from anyteacher.data.readers import check_metres
from anyteacher.data.source import ImageData, Source
from anyteacher.errors import ConfigError, did_you_mean
from anyteacher.facts import Facts
from anyteacher.normalization import IMAGENET

Direction = Literal["AtoB", "BtoA"]

SCENES = Augmentation(zoom=(0.5, 2.0), color=0.3)
DEPTHS = Augmentation(zoom=(1.0, 1.5), color=0.2)
# A pair cut out of a slightly larger picture, as Isola et al. (CVPR 2017) did: 286 to 256.
DRAWN = Augmentation(zoom=(1.0, 286 / 256))


class SceneData(ImageData, ABC):
    """Pictures below a root with the classes of their pixels: `segmentation`.

    Args:
        root: Folder of the data set.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training.
        **common: As for `ImageData`.

    Attributes:
        classes: How many there are.
    """

    classes: ClassVar[int]

    def __init__(
        self,
        root: Path,
        size: tuple[int, int] = (512, 512),
        augmentation: Augmentation | None = SCENES,
        **common: Any,
    ) -> None:
        super().__init__(size, augmentation, **common)
        self.root = Path(root)

    def facts(self) -> Facts:
        """The number of classes."""
        return Facts(("segmentation",), {"segmentation": self.classes}, norm=IMAGENET)

    def _annotated(self, part: str, reader: Relabel, layout: str) -> Source:
        """Images and annotations of a split, under the same names but for their ending."""
        images = need_folder(self.root / "images" / part, layout)
        labels = need_folder(self.root / "annotations" / part, layout)
        names = names_in(images)
        masks = partners(names, labels)
        return FileSource(Paths(images, names, found=True), {"segmentation": (masks, reader)})


class DepthData(ImageData, ABC):
    """Pictures below a root with their `depth`.

    Args:
        root: Folder of the data set.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training.
        max_depth: Farther depth, in metres, is taken for unknown.
        **common: As for `ImageData`.
    """

    def __init__(
        self,
        root: Path,
        size: tuple[int, int] = (480, 640),
        augmentation: Augmentation | None = DEPTHS,
        *,
        max_depth: float = 10.0,
        **common: Any,
    ) -> None:
        super().__init__(size, augmentation, **common)
        check_metres(max_depth)
        self.root, self.max_depth = Path(root), max_depth

    def facts(self) -> Facts:
        """Depth as far as was set."""
        return Facts(("depth",), max_depth=self.max_depth, norm=IMAGENET)


class DrawnData(ImageData, ABC):
    """Pictures of two kinds, A and B, of which one is to be made of the other.

    Args:
        root: Folder of the data set.
        direction: `AtoB` gives A, `BtoA` B.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training.
        **common: As for `ImageData`.

    Raises:
        ConfigError: for another direction, or colours that vary where there are pairs.
    """

    def __init__(
        self,
        root: Path,
        direction: Direction = "AtoB",
        size: tuple[int, int] = (256, 256),
        augmentation: Augmentation | None = DRAWN,
        **common: Any,
    ) -> None:
        super().__init__(size, augmentation, **common)
        if direction not in ("AtoB", "BtoA"):
            raise ConfigError(
                f"No direction '{direction}'. {did_you_mean(direction, ('AtoB', 'BtoA'))}"
            )
        self.root, self.direction = Path(root), direction
        check_kept(self.augmentation, self.facts().targets)
