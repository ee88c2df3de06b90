"""A folder of one's own: images with classes, depth or normals of their pixels."""

from functools import partial
from pathlib import Path
from typing import Any

from anyteacher.data.augmentation import Augmentation, check_kept
from anyteacher.data.files import (
    FileSource,
    Paths,
    Reader,
    Relabel,
    names_in,
    need_folder,
    partners,
    same_labels,
)
from anyteacher.data.readers import check_metres, read_metres, read_normals
from anyteacher.data.source import ImageData, Source, Split
from anyteacher.errors import ConfigError
from anyteacher.facts import IGNORE, Facts
from anyteacher.normalization import IMAGENET

LAYOUT = "{train,val,test}/images, and masks, depth or normals beside each."

AUGMENTATION = Augmentation(zoom=(1.0, 1.5))


class FoldersData(ImageData):
    """Images in folders, with `segmentation`, `depth` or `normals` of their pixels.

    Each split is a folder with `images`, and, of what is wanted, `masks` (grey or palette images
    whose values are classes), `depth` (16-bit grey PNG) and `normals` (colours from -1 to 1 along x
    to the right, y down and z forward; unknown where black, white or grey), under the same names
    but for their ending. Without a folder `test` the validation pictures test.

    Args:
        root: Folder with `train` and `val`.
        classes: Of the masks; None for no masks.
        ignore: The value of pixels of no class.
        max_depth: Farther depth, in metres, is taken for unknown; None for no depth.
        depth_scale: Steps of the depth's files that make a metre; None where they say it
            themselves, as those that `anyteacher predict` writes.
        normals: Whether there are normals.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training.
        **common: As for `ImageData`.

    Raises:
        ConfigError: when nothing is wanted beside the images, or what cannot be.
    """

    def __init__(
        self,
        root: Path,
        *,
        classes: int | None = None,
        ignore: int = IGNORE,
        max_depth: float | None = None,
        depth_scale: float | None = None,
        normals: bool = False,
        size: tuple[int, int] = (224, 224),
        augmentation: Augmentation | None = AUGMENTATION,
        **common: Any,
    ) -> None:
        super().__init__(size, augmentation, **common)
        self.root, self.classes, self.max_depth = Path(root), classes, max_depth
        self.readers: dict[str, tuple[str, Reader]] = {}
        if classes is not None:
            table = Relabel(same_labels(classes, ignore), f"a data set of {classes} classes")
            self.readers["segmentation"] = ("masks", table)
        if max_depth is not None:
            check_metres(max_depth, depth_scale)
            reader = partial(read_metres, scale=depth_scale)
            self.readers["depth"] = ("depth", reader)
        if normals:
            self.readers["normals"] = ("normals", read_normals)
        if not self.readers:
            raise ConfigError(
                "Folders of images alone teach nothing. Set classes for masks, max_depth for "
                "depth, or normals."
            )
        check_kept(augmentation, tuple(self.readers))

    def facts(self) -> Facts:
        """What is wanted, with the classes and the depth that were set."""
        classes = {} if self.classes is None else {"segmentation": self.classes}
        return Facts(tuple(self.readers), classes, max_depth=self.max_depth, norm=IMAGENET)

    def source(self, split: Split) -> Source:
        """A split; "test" is "val" where there is no such folder."""
        part = split if split != "test" or (self.root / "test").is_dir() else "val"
        images = need_folder(self.root / part / "images", LAYOUT)
        names = names_in(images)
        targets = {}
        for key, (name, reader) in self.readers.items():
            folder = need_folder(self.root / part / name, LAYOUT)
            targets[key] = (partners(names, folder), reader)
        return FileSource(Paths(images, names, found=True), targets)
