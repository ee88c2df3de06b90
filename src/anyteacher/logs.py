"""What a run logs: a CSV that survives interruptions, and reading it again."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from anyteacher.errors import DataError

Curve = list[tuple[int, float]]
_COLUMNS = ("step", "name", "value")


class CurveLogger(Logger):  # type: ignore[misc]
    """Appends every number to one CSV with the columns step, name, value.

    One line a number: new names need no new columns, and a resumed run appends. The steps between
    its last checkpoint and its interruption stand there twice, with equal values.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    @property
    def name(self) -> str:
        """No folder of its own."""
        return ""

    @property
    def version(self) -> str:
        """No folder of its own."""
        return ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the whole configuration lies beside the file."""

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Appends the numbers of one step, in a single write."""
        rows = [(step, name, repr(float(v))) for name, v in metrics.items() if name != "epoch"]
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerows([_COLUMNS, *rows] if new else rows)


def read_curves(path: Path) -> dict[str, Curve]:
    """Every logged number by name, in the order of its steps; of a repeated step, the last.

    Raises:
        DataError: when there is no such file, or a line of it cannot be read.
    """
    if not path.is_file():
        raise DataError(f"There is no log at '{path}'. Give the folder of a finished run.")
    curves: dict[str, dict[int, float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            try:
                if len(row) != len(_COLUMNS):
                    raise ValueError
                curves.setdefault(row["name"], {})[int(row["step"])] = float(row["value"])
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"'{path}' has a line that is no log entry: {row}.") from error
    return {name: sorted(values.items()) for name, values in curves.items()}
