"""Rooms as data sets: endless splits from disjoint seeds, on the fly or from a cache."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import Dataset

from anyteacher.data.loading import Batch, DataModule, Samples
from anyteacher.data.rooms import store
from anyteacher.data.rooms.render import TARGETS, check_targets, render
from anyteacher.data.rooms.scene import CLASSES, KINDS
from anyteacher.data.unpaired import partner
from anyteacher.errors import ConfigError, did_you_mean
from anyteacher.facts import Facts

Split = Literal["train", "val", "test"]

SPLITS: tuple[Split, ...] = ("train", "val", "test")
"""Names of the splits."""

_UNPAIRED = "unpaired"
_MAX_LENGTH = 1 << 32
_MAX_SEED = 1 << 29
_PIXELS_AT_ONCE = 64 * 64 * 64  # rendered between two steps of the progress bar


def scene_seeds(split: Split, indices: Int[Tensor, " b"], seed: int = 0) -> Int[Tensor, " b"]:
    """The seeds of scenes of a split; no two of (seed, split, index) share one.

    The index takes the lower 32 bits, split and seed the bits above.

    Raises:
        ConfigError: when there is no such split, or the seed is out of range.

    >>> import torch
    >>> scene_seeds("val", torch.tensor([0, 1])) - scene_seeds("train", torch.tensor([0, 1]))
    tensor([4294967296, 4294967296])
    """
    if split not in SPLITS:
        raise ConfigError(f"Rooms have no split {split!r}. {did_you_mean(split, SPLITS)}")
    if not 0 <= seed < _MAX_SEED:
        raise ConfigError(f"The seed of rooms must be from 0 to {_MAX_SEED - 1}; got {seed}.")
    return indices.to(torch.int64) + (seed * len(SPLITS) + SPLITS.index(split)) * _MAX_LENGTH


class RoomsDataset(Dataset[Batch]):
    """Generated rooms: scene i of a split is always the same.

    Values are rounded (images to 8 bits, depth and normals to half precision) whether they come
    from a cache or not, so that both give the same.

    Args:
        split: "train", "val" or "test".
        length: how many scenes, of an endless row.
        size: height and width of the pictures.
        targets: what to give beside the image; the fewer, the faster, and the smaller on disk.
        seed: of the whole benchmark.
        cache: folder in which to keep what was generated; without one, every access renders anew.
        device: where to render.
        first: where in the row they begin.

    Raises:
        ConfigError: when a setting is impossible.
        DataError: when a cached file is damaged.
    """

    def __init__(
        self,
        split: Split,
        length: int,
        size: tuple[int, int] = (64, 64),
        *,
        targets: Sequence[str] = TARGETS,
        seed: int = 0,
        cache: Path | None = None,
        device: str = "cpu",
        first: int = 0,
    ) -> None:
        check_targets(targets)
        if length < 1 or first < 0 or first + length > _MAX_LENGTH:
            raise ConfigError(
                f"A split of rooms has from 1 to 2**32 scenes; got {length} from {first} on."
            )
        if min(size) < 1:
            raise ConfigError(f"A picture needs a positive size; got {size[0]} x {size[1]}.")
        scene_seeds(split, torch.tensor([0]), seed)
        self.split, self.length, self.size, self.seed = split, length, size, seed
        self.targets = ("image", *(t for t in dict.fromkeys(targets) if t != "image"))
        self.device, self.first = device, first
        self.folder = None if cache is None else Path(cache) / self._name()
        self._arrays: dict[str, store.Array] = {}
        if self.folder is not None:
            self._fill(self.folder)
            self._open(self.folder)

    def _name(self) -> str:
        height, width = self.size
        # Devices agree to rounding only; each has its own folder.
        device = torch.device(self.device).type
        scenes = f"{self.first}+{self.length}" if self.first else f"{self.length}"
        settings = f"{self.split}-{scenes}-{height}x{width}-seed{self.seed}-{device}"
        return f"rooms-{settings}-{store.generator_hash()}"

    def _fill(self, folder: Path) -> None:
        missing = [t for t in self.targets if not (folder / f"{t}.npy").exists()]
        if missing:
            step = max(1, _PIXELS_AT_ONCE // (self.size[0] * self.size[1]))

            def make(start: int, end: int) -> dict[str, store.Array]:
                return self._render(range(start, end), missing)

            title = f"Rendering rooms: {self.split}"
            store.write(folder, missing, self.length, make, step=step, title=title)

    def _open(self, folder: Path) -> None:
        self._arrays = {t: store.read(folder / f"{t}.npy", self.length) for t in self.targets}

    def _render(self, indices: Sequence[int], targets: Sequence[str]) -> dict[str, store.Array]:
        seeds = scene_seeds(self.split, torch.tensor(indices) + self.first, self.seed)
        batch = render(seeds, *self.size, targets=targets, device=self.device)
        return {target: store.pack(target, batch[target]) for target in targets}

    def __getstate__(self) -> dict[str, Any]:
        # Worker processes map the files themselves, instead of receiving their contents.
        return {**self.__dict__, "_arrays": {}}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Batch:
        """One scene: the image, the targets and its `index`, without a batch dimension."""
        sample: Batch = self.__getitems__([index])[0]
        return sample

    def __getitems__(self, indices: list[int]) -> Samples:
        """Several scenes at once."""
        for index in indices:
            if not 0 <= index < self.length:
                raise IndexError(f"Scene {index} of a split of {self.length}.")
        if self.folder is None:
            arrays = self._render(indices, self.targets)
        else:
            if not self._arrays:
                self._open(self.folder)
            arrays = {target: array[indices] for target, array in self._arrays.items()}
        batch = {t: store.unpack(t, array) for t, array in arrays.items()}
        return Samples({**batch, "index": torch.tensor(indices)})


class UnpairedRooms(Dataset[Batch]):
    """Rooms by day, each with another room by night that is drawn anew in every epoch.

    Args:
        rooms: What is given.
        others: Rooms of other scenes, whose `relit` is the picture of the other kind.
        seed: Of the draws; None to take the others in turn.
    """

    def __init__(self, rooms: RoomsDataset, others: RoomsDataset, seed: int | None) -> None:
        self.rooms, self.others, self.seed = rooms, others, seed

    def __len__(self) -> int:
        return len(self.rooms)

    def __getitem__(self, index: int) -> Batch:
        """One scene with the picture of another, without a batch dimension."""
        sample: Batch = self.__getitems__([index])[0]
        return sample

    def __getitems__(self, indices: list[int]) -> Samples:
        """Several scenes at once."""
        places = [partner(index, len(self.others), self.seed) for index in indices]
        night = self.others.__getitems__([int(place) for place in places]).batch["relit"]
        return Samples({**self.rooms.__getitems__(indices).batch, "unpaired": night})


class RoomsData(DataModule):
    """Generated rooms with every target for every picture.

    Args:
        train_size: scenes to train on.
        val_size: scenes to validate on.
        test_size: scenes to test on.
        size: height and width of the pictures.
        targets: what to give beside the image, out of depth, segmentation, normals, edges, relit,
            presence and count; the fewer, the faster, and the smaller on disk. And `unpaired`:
            another scene by night, one of as many that are in no split.
        batch_size: images a batch and process.
        num_workers: worker processes of each loader; reading a cache is fast without any.
        seed: of the scenes and of the order of training.
        cache: whether to generate the scenes once into a folder, or anew at every access.
        cache_dir: that folder; by default $ANYTEACHER_CACHE, else ~/.cache/anyteacher.
        device: where to render the scenes; "cuda" pays off for large pictures.
    """

    def __init__(
        self,
        *,
        train_size: int = 4000,
        val_size: int = 500,
        test_size: int = 500,
        size: tuple[int, int] = (64, 64),
        targets: Sequence[str] = TARGETS,
        batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
        cache: bool = True,
        cache_dir: Path | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        check_targets([target for target in targets if target != _UNPAIRED])
        self.sizes = {"train": train_size, "val": val_size, "test": test_size}
        self.size, self.targets, self.device = size, tuple(targets), device
        self.cache = (cache_dir or store.default_cache()) if cache else None

    def facts(self) -> Facts:
        """The targets, the classes of pixels and the kinds of objects; depth has no limit."""
        return Facts(self.targets, {"segmentation": len(CLASSES), "presence": len(KINDS)})

    def _rooms(self, split: Split, targets: Sequence[str], first: int = 0) -> RoomsDataset:
        return RoomsDataset(
            split,
            self.sizes[split],
            self.size,
            targets=targets,
            seed=self.seed,
            cache=self.cache,
            device=self.device,
            first=first,
        )

    def _split(self, split: Split) -> RoomsDataset | UnpairedRooms:
        rooms = self._rooms(split, [t for t in self.targets if t != _UNPAIRED])
        if _UNPAIRED not in self.targets:
            return rooms
        # The scenes behind those of the split.
        others = self._rooms(split, ["relit"], first=self.sizes[split])
        return UnpairedRooms(rooms, others, self.seed if split == "train" else None)

    def prepare_data(self) -> None:
        """Generates what the cache lacks; Lightning calls it in one process of a machine."""
        if self.cache is not None:
            for split in SPLITS:
                self._split(split)

    def setup(self, stage: str) -> None:
        """Makes the data sets that a stage needs."""
        if stage == "fit":
            self.train = self._split("train")
        if stage in ("fit", "validate"):
            self.val = self._split("val")
        if stage == "test":
            self.test = self._split("test")
