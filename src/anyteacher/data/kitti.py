"""KITTI's depth prediction (Uhrig et al., 3DV 2017): roads, measured by a laser to 80 m."""

from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from anyteacher.data.augmentation import Augmentation
from anyteacher.data.files import FileSource, Paths, names_in, need_folder
from anyteacher.data.kinds import DEPTHS, DepthData
from anyteacher.data.readers import read_metres
from anyteacher.data.source import Source, Split
from anyteacher.errors import DataError

STEPS = 256
"""Steps of the 16-bit files that make a metre; 0 is unknown."""

LAYOUT = (
    "{train,val}/DRIVE/proj_depth/groundtruth/image_0{2,3}/*.png (the annotated depth) and "
    "DATE/DRIVE/image_0{2,3}/data/*.png (the raw recordings)."
)

_SELECTED = "depth_selection/val_selection_cropped"


class KITTIData(DepthData):
    """KITTI's annotated depth maps with the images of the raw recordings: `depth`, sparse.

    The thousand selected and cropped images of `depth_selection/val_selection_cropped` are the test
    set where they are there, else the validation split is.

    Args:
        root: Folder with `train` and `val` of the annotated depth.
        raw: Folder with the raw recordings by date; by default the same.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training.
        max_depth: Farther depth, in metres, is taken for unknown.
        **common: As for `ImageData`.
    """

    def __init__(
        self,
        root: Path,
        raw: Path | None = None,
        size: tuple[int, int] = (352, 1216),
        augmentation: Augmentation | None = DEPTHS,
        *,
        max_depth: float = 80.0,
        **common: Any,
    ) -> None:
        super().__init__(root, size, augmentation, max_depth=max_depth, **common)
        self.raw = Path(raw or root)

    def source(self, split: Split) -> Source:
        """A split of the drives; "test" is the selection, or "val"."""
        reader = partial(read_metres, scale=STEPS)
        if split == "test" and (self.root / _SELECTED).is_dir():
            images = need_folder(self.root / _SELECTED / "image", LAYOUT)
            names = names_in(images, ".png")
            truth = [name.replace("_sync_image_", "_sync_groundtruth_depth_") for name in names]
            depths = Paths(self.root / _SELECTED / "groundtruth_depth", truth)
        else:
            folder = need_folder(self.root / ("train" if split == "train" else "val"), LAYOUT)
            found = names_in(folder, ".png")
            # The same folders may hold the laser's raw returns beside what was annotated.
            truth = [name for name in found if "/proj_depth/groundtruth/" in name]
            if not truth:
                raise DataError(f"There is no annotated depth in '{folder}'. Expected: {LAYOUT}")
            depths, images = Paths(folder, truth), self.raw
            names = [self._recorded(name) for name in truth]
        source = FileSource(Paths(images, names), {"depth": (depths, reader)})
        source.check_exist()
        return source

    def _recorded(self, truth: str) -> str:
        """The image of a depth map, below the folder of the raw recordings; .jpg if it is one."""
        drive, *_, camera, file = PurePosixPath(truth).parts
        name = f"{drive[:10]}/{drive}/{camera}/data/{file}"
        smaller = str(PurePosixPath(name).with_suffix(".jpg"))
        return smaller if (self.raw / smaller).is_file() else name
