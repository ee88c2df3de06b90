"""Lists of files, and samples that are read from them."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from anyteacher.data.readers import read_photo
from anyteacher.data.source import Sample, Source
from anyteacher.errors import ConfigError, DataError
from anyteacher.facts import IGNORE
from anyteacher.images import SUFFIXES, read_labels

Reader = Callable[[Path], Tensor]


class Paths(Sequence[Path]):
    """Paths below a folder, in one block of memory that worker processes share.

    A list of a million Python objects would be copied to each of them, as soon as they count who
    refers to what.

    Args:
        root: The folder.
        names: Paths in it.
        found: Whether they were found there, and not listed elsewhere.
    """

    def __init__(self, root: Path, names: Iterable[str], *, found: bool = False) -> None:
        self.root, self.found = Path(root), found
        self._names = np.array([os.fsencode(name) for name in names], dtype=np.bytes_)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: Any) -> Any:
        """The path at a place."""
        return self.root / os.fsdecode(bytes(self._names[index]))


def need_folder(folder: Path, layout: str) -> Path:
    """The folder, if it is there.

    Args:
        folder: Where it should be.
        layout: What the root of the data set should hold, for the message.

    Raises:
        DataError: when there is none.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder '{folder}'. Give the root of a data set with {layout}")
    return folder


def names_in(folder: Path, ending: str | None = None) -> list[str]:
    """All files below a folder, in the order of their names; hidden ones are left out.

    Args:
        folder: The folder; links in it are followed.
        ending: How their names end; by default as those of images do.

    Raises:
        DataError: when there is none, or a link leads back to a folder on the way to it.
    """
    found = []
    # Of each folder on the way: where it really lies, after those that led to it.
    real: dict[Path, tuple[Path, ...]] = {folder: (folder.resolve(),)}
    for where, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        above = real.pop(Path(where))
        for name in folders:
            inner = Path(where, name)
            linked = inner.is_symlink()
            lies = inner.resolve() if linked else above[-1] / name
            if linked and any(one.is_relative_to(lies) for one in above):
                raise DataError(
                    f"'{inner}' is a link to a folder that leads to it, so its files would be "
                    "found again and again. Remove it."
                )
            real[inner] = (*above, lies)
        inside = os.path.relpath(where, folder)
        for name in files:
            wanted = name.endswith(ending) if ending else Path(name).suffix.lower() in SUFFIXES
            if wanted and not name.startswith("."):
                found.append(name if inside == "." else f"{inside}/{name}")
    if not found:
        kind = f"file *{ending}" if ending else "image"
        raise DataError(f"There is no {kind} in '{folder}'.")
    return sorted(found)


def lines_of(path: Path) -> list[str]:
    """The lines of a list of files that are not empty.

    Raises:
        DataError: when it cannot be read or is empty.
    """
    try:
        found = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read the list '{path}': {error}") from error
    if not found:
        raise DataError(f"The list '{path}' is empty.")
    return found


def _stem(name: str) -> str:
    return name[: len(name) - len(Path(name).suffix)]


def partners(names: Sequence[str], folder: Path) -> Paths:
    """The files in another folder that have the same path but for their ending.

    One that is missing goes by the ending that most of the others have, so that it can be named
    with all that is wrong: `FileSource.check_exist` refuses it.

    Args:
        names: Paths in one folder.
        folder: The other one.

    Raises:
        DataError: when none has a partner, or one has two that differ in their ending alone; and
            when two have the same one.
    """
    by_stem: dict[str, str] = {}
    for name in names_in(folder):
        stem = _stem(name)
        if by_stem.setdefault(stem, name) != name:
            raise DataError(f"{folder} holds both {by_stem[stem]} and {name}. Which one is meant?")
    stems = [_stem(name) for name in names]
    if not any(stem in by_stem for stem in stems):
        raise DataError(
            f"None of {len(names)} images has a file of the same name in '{folder}'; the first is "
            f"{names[0]}, and there is {next(iter(by_stem.values()))}."
        )
    ((usual, _),) = Counter(Path(name).suffix for name in by_stem.values()).most_common(1)
    theirs = [by_stem.get(stem, stem + usual) for stem in stems]
    first: dict[str, str] = {}
    for name, stem, partner in zip(names, stems, theirs, strict=True):
        if first.setdefault(stem, name) != name:
            raise DataError(
                f"Both {first[stem]} and {name} would belong to '{folder / partner}'. Which one is "
                "meant?"
            )
    return Paths(folder, theirs, found=all(stem in by_stem for stem in stems))


class Relabel:
    """Reads labels (h, w) and numbers the classes anew.

    Args:
        table: From the numbers in the files to those of the task; `IGNORE` for no class.
        owner: Whose labels they are, for the message.
    """

    def __init__(self, table: Mapping[int, int], owner: str) -> None:
        self.owner = owner
        self.table = torch.full((256,), -1, dtype=torch.int16)
        for old, new in table.items():
            self.table[old] = new

    def __call__(self, path: Path) -> UInt8[Tensor, "h w"]:
        """The labels in a file.

        Raises:
            DataError: when it cannot be read, or holds a label that there is not.
        """
        return self.renumber(read_labels(path), str(path))

    def renumber(self, labels: UInt8[Tensor, "h w"], name: str) -> UInt8[Tensor, "h w"]:
        """Labels that were read already, from a file of a name."""
        new = self.table[labels.int()]
        if (new < 0).any():
            wrong = sorted(set(labels[new < 0].tolist()))
            raise DataError(
                f"{name} holds the label{'s' if len(wrong) > 1 else ''} "
                f"{', '.join(map(str, wrong[:5]))}, which {self.owner} does not have."
            )
        return new.to(torch.uint8)


def same_labels(classes: int, ignore: int = IGNORE) -> dict[int, int]:
    """The table of labels that are numbered from 0 already.

    Args:
        classes: How many there are, from 1 to 255: files have 256 values, and one of them is none.
        ignore: The value of no class.

    Raises:
        ConfigError: when files of labels cannot hold them.
    """
    if not 1 <= classes <= IGNORE:
        raise ConfigError(f"Masks hold 1 to {IGNORE} classes, not {classes}.")
    if not 0 <= ignore <= 255:
        raise ConfigError(f"The value of pixels of no class (ignore) is 0 to 255, not {ignore}.")
    return {ignore: IGNORE, **{i: i for i in range(classes) if i != ignore}}


class FileSource(Source):
    """Samples of which each key is a file.

    Args:
        images: The images.
        targets: For each key the files, as many, and how one of them is read.
        values: What needs no file, such as `label`, by its key: a row for each image.
    """

    def __init__(
        self,
        images: Sequence[Path],
        targets: Mapping[str, tuple[Sequence[Path], Reader]] | None = None,
        values: Mapping[str, Shaped[Tensor, "n ..."]] | None = None,
    ) -> None:
        self.images, self.targets, self.values = images, dict(targets or {}), dict(values or {})

    def __len__(self) -> int:
        return len(self.images)

    def check_exist(self) -> None:
        """Refuses files that are not there, with their number and the first.

        Those that were found in a folder are not looked for again: ImageNet has a million.
        """
        for paths in (self.images, *(paths for paths, _ in self.targets.values())):
            if isinstance(paths, Paths) and paths.found:
                continue
            missing = [path for path in paths if not path.is_file()]
            if missing:
                raise DataError(
                    f"{len(missing)} of {len(paths)} files are missing; the first is "
                    f"'{missing[0]}'."
                )

    def name(self, index: int) -> str:
        """The files of a sample."""
        files = [self.images[index], *(paths[index] for paths, _ in self.targets.values())]
        return " and ".join(str(path) for path in files)

    def read(self, index: int) -> Sample:
        """Reads all files of a sample."""
        targets = {key: reader(paths[index]) for key, (paths, reader) in self.targets.items()}
        image = read_photo(self.images[index], targets.values())
        values = {key: rows[index] for key, rows in self.values.items()}
        return {"image": image, **targets, **values}
