"""Two collections of pictures without pairs, such as horses and zebras."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from anyteacher.data.augmentation import Augmentation
from anyteacher.data.files import FileSource, Paths, names_in, need_folder
from anyteacher.data.kinds import DRAWN, Direction, DrawnData
from anyteacher.data.loading import Batch, Place
from anyteacher.data.source import ImageDataset, Source, Split
from anyteacher.errors import ConfigError
from anyteacher.facts import Facts

LAYOUT = "trainA, trainB, testA and testB."


def partner(index: int, count: int, seed: int | None) -> Place:
    """The place of the picture of the other kind that comes with one, in its epoch.

    Args:
        index: The place of the one; a `Place` knows its epoch.
        count: How many others there are.
        seed: Of the draws; None to take the others in turn.

    >>> partner(5, 3, None)
    2
    """
    epoch = getattr(index, "epoch", 0)
    if seed is None:
        return Place(int(index) % count, epoch)
    # The last number parts this draw from that of the picture's view.
    draw = np.random.default_rng((seed, epoch, index, 1))
    return Place(int(draw.integers(count)), epoch)


class UnpairedDataset(Dataset[Batch]):
    """Pictures of one kind, each with one of the other kind that is drawn anew in every epoch.

    Without a seed all of both kinds come in order, and those of the smaller kind again until the
    larger one is through. `once`, two truth values, then says which of the two comes for the first
    time, so that both can be measured as the sets they are.

    Args:
        given: Pictures of the one kind.
        other: Pictures of the other.
        seed: Of the draws; None to take the others in turn.
    """

    def __init__(self, given: ImageDataset, other: ImageDataset, seed: int | None) -> None:
        self.given, self.other, self.seed = given, other, seed

    def __len__(self) -> int:
        counts = len(self.given), len(self.other)
        return max(counts) if self.seed is None else counts[0]

    def __getitem__(self, index: int) -> Batch:
        """Two pictures, and the place of the first."""
        other = self.other[partner(index, len(self.other), self.seed)]["image"]
        if self.seed is not None:
            return {**self.given[index], "unpaired": other}
        once = torch.tensor([index < len(self.given), index < len(self.other)])
        return {**self.given[index % len(self.given)], "unpaired": other, "once": once}


class UnpairedData(DrawnData):
    """Pictures of two kinds: `image`, and `unpaired` (B, 3, H, W) in [0, 1], of another scene.

    The test pictures validate, too; nothing can be held out (`val_share`), nor can there be bars
    around a picture (`fit: pad`).

    Args:
        root: Folder with `trainA`, `trainB`, `testA` and `testB`.
        direction: `AtoB` gives A as the image, `BtoA` B.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training.
        **common: As for `ImageData`.
    """

    def __init__(
        self,
        root: Path,
        direction: Direction = "AtoB",
        size: tuple[int, int] = (256, 256),
        augmentation: Augmentation | None = DRAWN,
        **common: Any,
    ) -> None:
        super().__init__(root, direction, size, augmentation, **common)
        if self.val_share:
            raise ConfigError(
                "Of pictures without pairs none are held out: leave val_share at 0, not "
                f"{self.val_share}. Those in testA and testB validate."
            )
        least = augmentation.zoom[0] if augmentation and augmentation.zoom else 1.0
        if self.fit == "pad" or least < 1:
            raise ConfigError(
                "Bars around a picture would be taken for a part of it, for it has no pair to tell "
                f"them by. Leave fit at 'crop' and zoom at 1 or more; got {self.fit!r} and {least}."
            )

    def facts(self) -> Facts:
        """Pictures of another kind."""
        return Facts(("unpaired",))

    def _kind(self, split: Split, kind: str) -> Source:
        folder = need_folder(self.root / f"{'train' if split == 'train' else 'test'}{kind}", LAYOUT)
        return FileSource(Paths(folder, names_in(folder), found=True))

    def source(self, split: Split) -> Source:
        """The pictures of the one kind; "val" is "test"."""
        return self._kind(split, self.direction[0])

    def parts(self, split: Split) -> dict[str, Source]:
        """Both kinds."""
        other = self.direction[-1]
        return {
            f"{split} {self.direction[0]}": self.part(split),
            f"{split} {other}": self._kind(split, other),
        }

    def dataset(self, split: Split) -> Dataset[Batch]:
        """Pictures of both kinds."""
        other = self._seen(self._kind(split, self.direction[-1]), split)
        seed = self.seed if split == "train" else None
        return UnpairedDataset(self._seen(self.part(split), split), other, seed)
