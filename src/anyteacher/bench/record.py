"""What is kept of every run: one JSON object, one line, one file, and all of them in one."""

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from anyteacher.bench.cell import RECORDS, key_of
from anyteacher.errors import DataError
from anyteacher.findings.curves import thinned
from anyteacher.images import replacing
from anyteacher.logs import Curve

Status = Literal["done", "diverged", "failed"]

_POINTS = 12  # of a curve
_DIGITS = 6  # of a number in a curve
_KEPT = ("val/", "train/", "spectra/")


@dataclass(frozen=True)
class Record:
    """A run as its line has it.

    Attributes:
        key: The hash of its settings.
        status: `done`; `diverged` where its loss was not finite; `failed` where it ended with
            another error.
        cell: What it is in plain names, see `Cell.description`.
        settings: Those of `anyteacher fit`.
        monitor: The metric that chose the weights.
        mode: Whether a smaller or a larger value of it is better.
        val: The metrics of the chosen weights on the validation data.
        test: On the test data; empty where they were not read.
        curves: Logged numbers by name, as steps and values; a few points of each.
        seconds: Of each part: `fit`, of a resumed run its last attempt alone; in it `steps` and
            `validation`, of all attempts; `test`.
        memory: The most that was held, in bytes: `host` by the process, where the system tells it;
            `device` by its tensors, on a GPU.
        machine: What it ran on, and the versions.
        commit: Of the source; empty where it is no checkout.
        error: What went wrong; empty where nothing did.
    """

    key: str
    status: Status
    cell: dict[str, Any]
    settings: dict[str, Any]
    monitor: str = ""
    mode: str = ""
    val: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    commit: str = ""
    error: str = ""

    def line(self) -> str:
        """The record as one line of JSON; what is not a number is null."""
        return json.dumps(_plain(asdict(self)), sort_keys=True, separators=(",", ":"))

    @property
    def validated(self) -> float:
        """The deciding metric on the validation data; not a number where the run is not done."""
        return self.val.get(self.monitor, math.nan) if self.status == "done" else math.nan


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def compact(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """What a record keeps of a run's curves: metrics, losses and ranks, few points and digits.

    Of the singular values of a projector it keeps how many there were at most, as `directions`:
    the log has some of many, each under its own number.
    """
    kept = {name: curve for name, curve in curves.items() if name.startswith(_KEPT)}
    for name in list(kept):
        link, singular, place = name.partition("/singular_values/")
        if singular:
            step = kept.pop(name)[-1][0]
            before = kept.get(f"{link}/directions", [(step, 0.0)])
            kept[f"{link}/directions"] = [(step, max(before[0][1], float(place) + 1))]
    return {
        name: [(step, float(f"{value:.{_DIGITS}g}")) for step, value in thinned(curve, _POINTS)]
        for name, curve in sorted(kept.items())
    }


def write_record(folder: Path, record: Record) -> Path:
    """Writes a record into a benchmark's folder, complete or not at all."""
    path = folder / RECORDS / f"{record.key}.json"
    with replacing(path) as temporary:
        temporary.write_text(record.line() + "\n")
    return path


def read_records(place: Path) -> dict[str, Record]:
    """Reads the records in a benchmark's folder, or those of a file of lines, by their keys.

    Raises:
        DataError: when there are none, or one cannot be read.
    """
    paths = _files(place) if place.is_dir() else [place] if place.is_file() else []
    found: dict[str, Record] = {}
    for record in (record for path in paths for record in _lines(path)):
        if found.setdefault(record.key, record).line() != record.line():
            raise DataError(
                f"There are two records of the run {record.key} in '{place}', and they differ. "
                "Remove one of them."
            )
    if not found:
        raise DataError(
            f"There are no records at '{place}'. Give the folder of `anyteacher bench run`, or the "
            "file of `anyteacher bench gather`."
        )
    return found


def known_records(folder: Path) -> dict[str, Record]:
    """The records in a folder that may have none yet."""
    return read_records(folder) if any(_files(folder)) else {}


def gather(records: Iterable[Record], path: Path) -> None:
    """Writes records as one file of lines in the order of their keys, compressed if it ends in .gz.

    The same records give the same file.
    """
    lines = [r.line() + "\n" for r in sorted(records, key=lambda record: record.key)]
    content = "".join(lines).encode()
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def _files(folder: Path) -> list[Path]:
    return sorted(
        path for path in (folder / RECORDS).glob("*.json") if not path.name.startswith(".")
    )


def _lines(path: Path) -> Iterable[Record]:
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"'{path}' cannot be read ({type(error).__name__}: {error}).") from error
    for number, line in enumerate(text.splitlines(), 1):
        try:
            content = json.loads(line)
            for part in ("val", "test"):
                content[part] = {
                    name: math.nan if value is None else float(value)
                    for name, value in content[part].items()
                }
            content["curves"] = {
                name: [(int(step), math.nan if value is None else value) for step, value in curve]
                for name, curve in content["curves"].items()
            }
            record = Record(**content)
            if record.key != key_of(record.settings, record.cell["links"]):
                raise ValueError("its key is not that of its settings")
            yield record
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"Line {number} of '{path}' is no record of this version "
                f"({type(error).__name__}: {error}). Without the record `anyteacher bench run` "
                "makes the run again."
            ) from error
