"""Pictures to be made of others, from pairs of the same scene."""

from pathlib import Path

from anyteacher.data.files import FileSource, Paths, names_in, need_folder, partners
from anyteacher.data.kinds import Direction, DrawnData
from anyteacher.data.source import Sample, Source, Split
from anyteacher.errors import DataError
from anyteacher.facts import Facts
from anyteacher.images import read_pixels

LAYOUT = "{train,val,test}/* of two images side by side, or A/{train,val,test}/* and B/…/* alike."


class AlignedSource(Source):
    """Files of two images side by side, A to the left.

    Args:
        paths: The files.
        direction: Which of the two is given.
    """

    def __init__(self, paths: Paths, direction: Direction) -> None:
        self.paths, self.direction = paths, direction

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """The file of a pair."""
        return str(self.paths[index])

    def read(self, index: int) -> Sample:
        """Both halves."""
        both = read_pixels(self.paths[index])
        if both.shape[-1] % 2:
            raise DataError(
                f"{self.paths[index]} is {both.shape[-1]} pixels wide, and two images of the same "
                "size side by side have an even width."
            )
        halves = both.chunk(2, -1)
        given, wanted = halves if self.direction == "AtoB" else halves[::-1]
        return {"image": given, "target": wanted}


class PairsData(DrawnData):
    """Pairs of pictures of the same scene: `image`, and `target` (B, 3, H, W) in [0, 1].

    Each file of a split's folder holds both side by side, A to the left; or, where the root has
    folders A and B, the two have the same path in them, but for the ending. Without a folder `val`,
    the test pairs validate; without a folder `test`, the validation pairs test.

    Args:
        root: Folder with the splits, or with A and B.
        direction: `AtoB` makes B of A, `BtoA` A of B.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training; not the colours.
        **common: As for `ImageData`.
    """

    def facts(self) -> Facts:
        """A picture to be made."""
        return Facts(("target",))

    def source(self, split: Split) -> Source:
        """A split."""
        kinds = [(self.root / kind).is_dir() for kind in "AB"]
        # Where one of them is missing and nothing else is there, it is what is asked for.
        apart = all(kinds) or (any(kinds) and not (self.root / "train").is_dir())
        within = self.root / "A" if apart else self.root
        other = {"train": "train", "val": "test", "test": "val"}[split]
        part = split if (within / split).is_dir() else other
        folder = need_folder(within / part, LAYOUT)
        names = names_in(folder)
        first = Paths(folder, names, found=True)
        if not apart:
            _check_flat(folder, names)
            return AlignedSource(first, self.direction)
        theirs = need_folder(self.root / "B" / part, LAYOUT)
        second = partners(names, theirs)
        given, wanted = (first, second) if self.direction == "AtoB" else (second, first)
        return FileSource(given, {"target": (wanted, read_pixels)})


def _check_flat(folder: Path, names: list[str]) -> None:
    """Refuses pairs in folders of their own: photos beside their masks would be cut in halves."""
    inside = sorted({name.partition("/")[0] for name in names if "/" in name})
    if inside:
        raise DataError(
            f"'{folder}' holds folders with images ({', '.join(inside[:5])}), and pairs side by "
            "side lie in it themselves. Move them there; pairs in two files belong into "
            "A/{train,val,test} and B/…, and masks, depth or normals of photos to FoldersData."
        )
