"""Data sets in the format of Hugging Face `datasets`, from their Hub or a folder."""

import io
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from anyteacher.data.augmentation import Augmentation, check_kept
from anyteacher.data.files import Reader, Relabel, same_labels
from anyteacher.data.readers import check_metres, read_metres, read_photo
from anyteacher.data.source import PIXELS, ImageData, Sample, Source, Split
from anyteacher.errors import ConfigError, DataError, did_you_mean, require
from anyteacher.facts import IGNORE, Facts
from anyteacher.images import read_pixels
from anyteacher.normalization import IMAGENET, ImageNorm

AUGMENTATION = Augmentation(zoom=(1.0, 1.5))

_KEYS = ("image", "target", "label", "presence", "segmentation", "depth")
_CLASSES = ("label", "presence", "segmentation")
_NUMBERS = ("label", "presence")  # the keys that are no pictures
_FILES = ("string", "large_string", "binary", "large_binary")  # paths, and what files hold


class _Stored(io.BytesIO):
    """A file inside of another one, which tells its place when it is named."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self._name = name

    def __str__(self) -> str:
        return self._name


class HubSource(Source):
    """Rows of a table of Hugging Face.

    Args:
        table: A `datasets.Dataset`.
        name: What it is called in messages.
        columns: The column of each key.
        readers: How the files of each key are read.
        classes: How many labels there are.
    """

    def __init__(
        self,
        table: Any,
        name: str,
        columns: Mapping[str, str],
        readers: Mapping[str, Reader],
        classes: int | None,
    ) -> None:
        self._name, self.columns = name, dict(columns)
        self.readers, self.classes = dict(readers), classes
        for key, column in columns.items():
            if column not in table.column_names:
                raise ConfigError(
                    f"{name} has no column '{column}' for {key}. "
                    f"{did_you_mean(column, table.column_names)}"
                )
        # Others are neither decoded, nor is there harm in a broken picture of theirs.
        self.table = table.select_columns(sorted(set(columns.values())))
        self._listed = False  # whether the table says that its lists are of class numbers
        for key, column in columns.items():
            feature = table.features[column]
            if key in _NUMBERS:
                kind = feature if key == "label" else getattr(feature, "feature", 0)
                self._check_classes(kind)
                self._listed |= key == "presence" and hasattr(kind, "num_classes")
            else:
                self._check_pictures(column, feature)
                # Its files are read here, so that a broken one is named.
                self.table = self.table.cast_column(column, _pictures()(decode=False))

    def _check_classes(self, feature: Any) -> None:
        theirs = getattr(feature, "num_classes", self.classes)
        if theirs != self.classes:
            raise ConfigError(
                f"{self._name} has {theirs} classes, and the data is set to {self.classes}. Set "
                f"the classes of data, task and student to {theirs}."
            )

    def _check_pictures(self, column: str, feature: Any) -> None:
        parts = [feature]
        if isinstance(feature, Mapping) and feature.keys() <= {"bytes", "path"}:
            parts = list(feature.values())  # as pictures are stored, without saying so
        files = [getattr(part, "dtype", "") in _FILES for part in parts]
        if not isinstance(feature, _pictures()) and not all(files):
            raise ConfigError(
                f"{self._name}, column '{column}' holds no pictures, but {feature}. Name a column "
                "of images, or of the paths of their files."
            )

    def __len__(self) -> int:
        return len(self.table)

    def name(self, index: int) -> str:
        """The table and the row."""
        return f"{self._name}, row {int(index)}"

    def read(self, index: int) -> Sample:
        """The wanted columns of a row."""
        row = self.table[int(index)]
        sample = {
            key: self._value(key, row[name], index)
            for key, name in self.columns.items()
            if key != "image"
        }
        targets = [value for key, value in sample.items() if key in PIXELS]
        # The photo comes last, for it lies as its targets do.
        image = self._value("image", row[self.columns["image"]], index, targets)
        return {"image": image, **sample}

    def _value(
        self, key: str, value: Any, index: int, targets: Iterable[torch.Tensor] = ()
    ) -> torch.Tensor:
        name = f"{self.name(index)}, column '{self.columns[key]}'"
        if value is None or (isinstance(value, dict) and not any(value.values())):
            raise DataError(f"{name} is empty.")
        if key not in _NUMBERS:
            content = value["bytes"]
            file: Any = Path(value["path"]) if content is None else _Stored(content, name)
            return read_photo(file, targets) if key == "image" else self.readers[key](file)
        numbers = [value] if key == "label" else value
        if not isinstance(numbers, list):
            raise DataError(f"{name} is {value!r}, which is no list of classes.")
        for number in numbers:
            # True and False are whole numbers to Python.
            whole = isinstance(number, int) and not isinstance(number, bool)
            if not whole or self.classes is None or not 0 <= number < self.classes:
                raise DataError(f"{name} is {value!r}, which is no class of {self.classes}.")
        if key == "label":
            return torch.tensor(numbers[0])
        each = len(numbers) == self.classes and len(numbers) > 1
        if each and max(numbers) < 2 and not self._listed:
            raise DataError(
                f"{name} is {value!r}, which looks like a yes or no for each of {self.classes} "
                "classes, where the numbers of those that the image shows are wanted. List them, "
                "or, where they are such numbers, make the column a list of `datasets.ClassLabel`."
            )
        presence = torch.zeros(self.classes or 0)
        presence[numbers] = 1
        return presence


def _pictures() -> Any:
    """The type of columns of pictures."""
    return require("datasets").Image


class HubData(ImageData):
    """A data set of Hugging Face `datasets`: of its Hub by name, or saved in a folder.

    Args:
        name: Name on the Hub (`owner/name`), a folder in a format that `datasets.load_dataset`
            reads, or one that `DatasetDict.save_to_disk` wrote.
        columns: The column of each key; of `image`, and of `target`, `label`, `presence` (a list of
            classes), `segmentation` (an image whose values are classes) or `depth` (a 16-bit grey
            image).
        subset: Which of its configurations, if it has several.
        train_split: The split to train on.
        val_split: The one to validate on.
        test_split: The one to test on.
        classes: Of labels, lists of them or masks.
        ignore: The value of pixels of no class.
        max_depth: Farther depth, in metres, is taken for unknown; needed with depth.
        depth_scale: Steps of the depth's files that make a metre; None where they say it.
        size: Height and width of the pictures that the student sees.
        augmentation: What varies in training.
        **common: As for `ImageData`.

    Raises:
        ConfigError: when there is nothing to learn, or what it needs is not set.
    """

    def __init__(
        self,
        name: str,
        columns: dict[str, str],
        *,
        subset: str | None = None,
        train_split: str = "train",
        val_split: str = "validation",
        test_split: str = "test",
        classes: int | None = None,
        ignore: int = IGNORE,
        max_depth: float | None = None,
        depth_scale: float | None = None,
        size: tuple[int, int] = (224, 224),
        augmentation: Augmentation | None = AUGMENTATION,
        **common: Any,
    ) -> None:
        super().__init__(size, augmentation, **common)
        self.name, self.columns, self.subset = name, columns, subset
        self.splits = {"train": train_split, "val": val_split, "test": test_split}
        self.classes, self.max_depth = classes, max_depth
        for key in columns:
            if key not in _KEYS:
                raise ConfigError(f"Nothing reads '{key}'. {did_you_mean(key, _KEYS)}")
        if "image" not in columns or len(columns) < 2:
            raise ConfigError(
                f"Name the columns of the image and of a target, out of {', '.join(_KEYS)}; got "
                f"{columns}."
            )
        if classes is None and any(key in columns for key in _CLASSES):
            raise ConfigError("Set the number of classes of the labels.")
        if classes is not None and classes < 1:
            raise ConfigError(f"There is at least 1 class, not {classes}.")
        check_kept(augmentation, tuple(columns))
        if "depth" in columns and max_depth is None:
            raise ConfigError("Set max_depth, in metres, for depth.")
        self.readers: dict[str, Reader] = {"target": read_pixels}
        if classes is not None and "segmentation" in columns:
            self.readers["segmentation"] = Relabel(same_labels(classes, ignore), name)
        if max_depth is not None:
            check_metres(max_depth, depth_scale)
            self.readers["depth"] = partial(read_metres, scale=depth_scale)

    def facts(self) -> Facts:
        """What was named, with the classes and the depth that were set."""
        targets = tuple(key for key in self.columns if key != "image")
        labels = [key for key in targets if key in _CLASSES]
        classes = {key: self.classes for key in labels if self.classes is not None}
        depth = self.max_depth if "depth" in targets else None
        norm = ImageNorm() if "target" in targets else IMAGENET
        return Facts(targets, classes, max_depth=depth, norm=norm)

    def source(self, split: Split) -> Source:
        """A split, read through `datasets`."""
        datasets = require("datasets")
        folder, wanted = Path(self.name), self.splits[split]
        saved = any((folder / file).is_file() for file in ("dataset_dict.json", "state.json"))
        try:
            if saved:
                tables = datasets.load_from_disk(self.name)
            else:
                tables = datasets.load_dataset(self.name, self.subset)
        # It raises nearly anything, from its own errors to those of the network.
        except Exception as error:
            raise DataError(f"Cannot load the data set '{self.name}': {error}") from error
        if isinstance(tables, datasets.Dataset):
            raise ConfigError(
                f"'{self.name}' holds one table without splits. Save a `datasets.DatasetDict` of "
                f"{', '.join(self.splits.values())}."
            )
        if wanted not in tables:
            raise ConfigError(
                f"'{self.name}' has no split '{wanted}'. {did_you_mean(wanted, tables)} Set "
                f"{split}_split."
            )
        title = f"{self.name}, split {wanted}"
        return HubSource(tables[wanted], title, self.columns, self.readers, self.classes)
