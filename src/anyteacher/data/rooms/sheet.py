"""A sheet of scenes to look at, with every target side by side."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from anyteacher import pictures
from anyteacher.data.rooms.dataset import RoomsDataset, Split
from anyteacher.data.rooms.scene import CLASSES, KINDS
from anyteacher.images import replacing

_COLUMNS = ("image", "depth", "classes", "normals", "edges", "at night")


def _caption(count: Tensor) -> str:
    """The visible objects in words.

    >>> import torch
    >>> _caption(torch.tensor([2, 0, 0, 1]))
    '2 spheres, 1 cone'
    """
    plural = [f"{k}es" if k.endswith("x") else f"{k}s" for k in KINDS]
    words = [
        f"{n} {kind if n == 1 else many}"
        for n, kind, many in zip(count.tolist(), KINDS, plural, strict=True)
        if n
    ]
    return ", ".join(words) or "no object"


def _legend(width: int) -> Image.Image:
    """A strip with the name of each class beside its colour."""
    strip = Image.new("RGB", (width, 28), "white")
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(size=14)
    x = 6
    for name, colour in zip(CLASSES, pictures.palette().tolist(), strict=False):
        pen.rectangle((x, 6, x + 14, 20), tuple(colour))
        pen.text((x + 20, 13), name, "black", font, anchor="lm")
        x += 36 + int(font.getlength(name))
    return strip


def contact_sheet(
    split: Split = "train",
    count: int = 8,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    *,
    cell: int = 192,
) -> Image.Image:
    """Draws the first scenes of a split, one a row, with all targets.

    Args:
        split: "train", "val" or "test".
        count: number of scenes.
        size: height and width of the pictures.
        seed: of the benchmark.
        cell: pixels across a picture on the sheet; smaller pictures are enlarged.
    """
    scenes = RoomsDataset(split, count, size, seed=seed).__getitems__(list(range(count))).batch
    columns = (
        pictures.image(scenes["image"]),
        pictures.depth(scenes["depth"]),
        pictures.classes(scenes["segmentation"]),
        pictures.normals(scenes["normals"]),
        pictures.image(1.0 - scenes["edges"]),
        pictures.image(scenes["relit"]),
    )
    rows = [[column[i] for column in columns] for i in range(count)]
    ranges = zip(
        *(r.flatten().tolist() for r in pictures.depth_range(scenes["depth"])), strict=True
    )
    # The label of a row is drawn in one line; short lines keep it narrow.
    labels = [
        "\n".join((*_caption(n).split(", "), f"{near:.1f} to {far:.1f} m"))
        for n, (near, far) in zip(scenes["count"], ranges, strict=True)
    ]
    grid = pictures.grid(rows, _COLUMNS, labels, cell=cell)
    legend = _legend(grid.width)
    sheet = Image.new("RGB", (grid.width, grid.height + legend.height), "white")
    sheet.paste(grid, (0, 0))
    sheet.paste(legend, (0, grid.height))
    return sheet


def write_contact_sheet(
    path: Path,
    split: Split = "train",
    count: int = 8,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
) -> Path:
    """Writes a contact sheet in the format that the file's ending says; gives the path back."""
    sheet = contact_sheet(split, count, size, seed, cell=max(192, *size))
    with replacing(path) as part:
        sheet.save(part)
    return path
