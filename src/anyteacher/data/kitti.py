"""KITTI's depth prediction (Uhrig et al., 3DV 2017): roads, measured by a laser to 80 m."""

from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from anyteacher.data.augmentation import Augmentation
from anyteacher.data.files import FileSource, Paths, names_in, need_folder
from anyteacher.data.kinds import DEPTHS, DepthData
from anyteacher.data.readers import read_metres
from anyteacher.data.source import Sample, Source, Split, height_and_width
from anyteacher.errors import DataError

STEPS = 256
"""Steps of the 16-bit files that make a metre; 0 is unknown."""

LAYOUT = (
    "{train,val}/DRIVE/proj_depth/groundtruth/image_0{2,3}/*.png (the annotated depth) and "
    "DATE/DRIVE/image_0{2,3}/data/*.png (the raw recordings)."
)

WINDOW = (352, 1216)
"""Height and width of the part of a picture, at its bottom and in its middle, that is seen."""

# Height and width of the pictures of each day, which the selected ones were cut out of.
_DAYS = {
    "2011_09_26": (375, 1242),
    "2011_09_28": (370, 1224),
    "2011_09_29": (374, 1238),
    "2011_09_30": (370, 1226),
    "2011_10_03": (376, 1241),
}

_SELECTED = "depth_selection/val_selection_cropped"


def window(height: int, width: int) -> tuple[int, int]:
    """Top and left of the part that is seen of a picture; a smaller picture is seen whole.

    >>> window(375, 1242)
    (23, 13)
    """
    return max(0, height - WINDOW[0]), max(0, width - WINDOW[1]) // 2


class KITTISource(FileSource):
    """Pictures and depth, cut to the part that is seen (`WINDOW`).

    Args:
        images: The images.
        depths: Their depth.
        selected: Whether the files are cut already, and named by their day.
    """

    def __init__(self, images: Paths, depths: Paths, *, selected: bool) -> None:
        super().__init__(images, {"depth": (depths, partial(read_metres, scale=STEPS))})
        self.selected = selected

    def read(self, index: int) -> Sample:
        """What is seen of a picture, its depth, and where the picture lies around it."""
        sample = super().read(index)
        whole = height_and_width(sample, self.name(index))
        top, left = window(*whole)
        size = [min(WINDOW[i], whole[i]) for i in range(2)]
        for key in ("image", "depth"):
            sample[key] = sample[key][:, top : top + size[0], left : left + size[1]]
        if self.selected and whole == WINDOW:
            whole = _DAYS.get(self.images[index].name[:10], whole)
            top, left = window(*whole)
        sample["extent"] = torch.tensor([-top, -left, *whole])
        return sample


class KITTIData(DepthData):
    """KITTI's annotated depth maps with the images of the raw recordings: `depth`, sparse.

    Of each picture the lower middle of 352 x 1216 pixels is seen, as KITTI's benchmark has it, and
    not resized at the size that is set by default. With it comes where it lies in the picture, so
    that the crop of Garg et al. is that of the whole one. The thousand selected images of
    `depth_selection/val_selection_cropped`, cut alike, are the test set where they are there, else
    the validation split is.

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
        selected = split == "test" and (self.root / _SELECTED).is_dir()
        if selected:
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
        return KITTISource(Paths(images, names), depths, selected=selected)

    def _recorded(self, truth: str) -> str:
        """The image of a depth map, below the folder of the raw recordings; .jpg if it is one."""
        drive, *_, camera, file = PurePosixPath(truth).parts
        name = f"{drive[:10]}/{drive}/{camera}/data/{file}"
        smaller = str(PurePosixPath(name).with_suffix(".jpg"))
        return smaller if (self.raw / smaller).is_file() else name
