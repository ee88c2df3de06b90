"""What a data set holds, found by reading all of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from anyteacher.data.loading import DataModule
from anyteacher.data.source import ImageData, Source, Split, height_and_width
from anyteacher.errors import DataError
from anyteacher.facts import IGNORE

SPLITS: tuple[Split, ...] = ("train", "val", "test")

_LABELS = 256
LABEL_KEYS = ("label", "presence", "segmentation")
"""The keys of a sample that hold numbers of classes."""


@dataclass
class Inventory:
    """What the samples of a split hold.

    Attributes:
        samples: How many there are.
        smallest: The least height and the least width.
        largest: The greatest.
        labels: For each key that holds labels, how often each occurs, by number (256, but more
            where images have labels beyond); at 255 of `segmentation`, the pixels of no class.
        nearest: The least depth of the files, in metres.
        farthest: The greatest, also where it is beyond what is used.
        known: Pixels of known depth that is used.
        pixels: Pixels that have a depth at all.
        normals: Pixels that have a normal at all.
        directed: Those whose normal is known.
        facing: Those of them whose normal points to the camera, as those of what is seen do.
        blank: Samples that can be read and of which nothing of a kind is known, with their files.
        broken: What is wrong with samples that cannot be read, with their files.
    """

    samples: int = 0
    smallest: tuple[int, int] = (1 << 30, 1 << 30)
    largest: tuple[int, int] = (0, 0)
    labels: dict[str, Int[Tensor, " classes"]] = field(default_factory=dict)
    nearest: float = inf
    farthest: float = 0.0
    known: int = 0
    pixels: int = 0
    normals: int = 0
    directed: int = 0
    facing: int = 0
    blank: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def add(self, other: "Inventory") -> None:
        """Takes in what other samples hold."""
        self.samples += other.samples
        self.smallest = _each(min, self.smallest, other.smallest)
        self.largest = _each(max, self.largest, other.largest)
        for key, counts in other.labels.items():
            mine = self.labels.get(key, torch.zeros(0, dtype=torch.int64))
            longer = torch.zeros(max(len(mine), len(counts)), dtype=torch.int64)
            longer[: len(mine)] += mine
            longer[: len(counts)] += counts
            self.labels[key] = longer
        self.nearest = min(self.nearest, other.nearest)
        self.farthest = max(self.farthest, other.farthest)
        self.known, self.pixels = self.known + other.known, self.pixels + other.pixels
        self.normals += other.normals
        self.directed, self.facing = self.directed + other.directed, self.facing + other.facing
        self.blank, self.broken = self.blank + other.blank, self.broken + other.broken

    def classes(self, key: str) -> list[int]:
        """The classes that occur in a key, in order."""
        counts = self.labels[key].clone()
        if key == "segmentation":
            counts[IGNORE] = 0
        return [int(number) for number in counts.nonzero()]

    def unknown(self) -> list[str]:
        """The targets that are there, and of which not one pixel is known."""
        labels = "segmentation" in self.labels and not self.classes("segmentation")
        none = {
            "segmentation": labels,
            "depth": self.pixels and not self.known,
            "normals": self.normals and not self.directed,
        }
        return [key for key, wholly in none.items() if wholly]

    def ignored(self) -> float:
        """The share of the pixels of masks that no class has."""
        counts = self.labels["segmentation"]
        return float(counts[IGNORE] / counts.sum().clamp(min=1))


def _each(choose: Any, a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return choose(a[0], b[0]), choose(a[1], b[1])


class _Looks(Dataset[Inventory]):
    """The inventory of each sample alone, made in whatever process reads it."""

    def __init__(self, samples: Source | Dataset[Any], max_depth: float) -> None:
        self.samples, self.max_depth = samples, max_depth

    def __len__(self) -> int:
        return len(self.samples)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Inventory:
        try:
            if isinstance(self.samples, Source):
                sample, name = self.samples.read(index), self.samples.name(index)
            else:
                sample, name = self.samples[index], f"sample {index}"
            size = height_and_width(sample, name)
        except DataError as error:
            return Inventory(1, broken=[str(error)])
        found = Inventory(1, size, size)
        for key in LABEL_KEYS:
            if key in sample:
                values = sample[key].flatten().long()
                numbers = values.nonzero().flatten() if key == "presence" else values
                found.labels[key] = numbers.bincount(minlength=_LABELS)
        if "depth" in sample:
            depth = sample["depth"]
            measured = depth[depth > 0]
            found.known, found.pixels = int((measured <= self.max_depth).sum()), depth.numel()
            if measured.numel():
                found.nearest, found.farthest = float(measured.min()), float(measured.max())
        if "normals" in sample:
            known = sample["normals"].abs().amax(0) > 0
            found.normals, found.directed = known.numel(), int(known.sum())
            found.facing = int((sample["normals"][2] < 0).sum())
        found.blank = [f"no pixel of {key} is known in {name}" for key in found.unknown()]
        return found


def inventories(
    samples: Source | Dataset[Any], num_workers: int = 0, *, max_depth: float | None = None
) -> Iterator[Inventory]:
    """The inventory of each sample, in order.

    Args:
        samples: As they are stored, or as they are seen.
        num_workers: Processes that read them.
        max_depth: Farther depth, in metres, is not used; None for none.
    """
    looks = _Looks(samples, inf if max_depth is None else max_depth)
    yield from DataLoader(looks, batch_size=None, num_workers=num_workers)


def stored(data: DataModule) -> Iterator[tuple[str, Source | Dataset[Any]]]:
    """Everything that a data set has, by the name of the split; what two splits share comes once.

    Raises:
        DataError: when whole folders or lists are missing.
    """
    seen: set[tuple[str, ...]] = set()
    if not isinstance(data, ImageData):
        data.prepare_data()
        data.setup("fit")
        data.setup("test")
        yield from ((split, getattr(data, split)) for split in SPLITS)
        return
    for split in SPLITS:
        for name, source in data.parts(split).items():
            files = tuple(source.name(index) for index in range(len(source)))
            if files not in seen:
                yield name, source
            seen.add(files)
