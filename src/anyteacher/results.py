"""What `anyteacher test` and `anyteacher validate` leave in a run's folder, for other commands."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from anyteacher.errors import DataError
from anyteacher.images import replacing


def write_result(folder: Path, split: str, metrics: Mapping[str, float], weights: Path) -> Path:
    """Writes the metrics of a run's student as `<split>.json`, with a hash of the weights.

    Args:
        folder: Of the run.
        split: `val` or `test`.
        metrics: By name.
        weights: The file that was measured.

    Returns:
        The file written.
    """
    path = folder / f"{split}.json"
    content = {
        "metrics": dict(metrics),
        "weights": {"file": weights.name, "sha256": _hash(weights)},
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
    return path


def read_result(folder: Path, split: str, weights: Path) -> dict[str, float] | None:
    """The metrics in `<split>.json`; None where there are none, or those of other weights.

    Args:
        folder: Of the run.
        split: `val` or `test`.
        weights: The file that they must have been measured with.

    Raises:
        DataError: when the file is there and cannot be read.
    """
    path = folder / f"{split}.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        metrics = {str(name): float(value) for name, value in content["metrics"].items()}
        measured = content["weights"]["sha256"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"'{path}' is damaged ({type(error).__name__}: {error}). Delete it, and measure again "
            f"with `anyteacher {'test' if split == 'test' else 'validate'} {folder}`."
        ) from error
    return metrics if measured == _hash(weights) else None


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
