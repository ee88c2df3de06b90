"""Rooms on disk: compact values, one memory-mapped file for each target.

A folder belongs to one split, length, size and seed and to one state of the generator's source, all
of which are in its name: what an older generator made is never read. Files appear under their names
only when complete, and two processes that generate the same file write the same bytes, so whoever
comes second replaces a file by its twin.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from multiprocessing import parent_process
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from anyteacher.errors import DataError
from anyteacher.images import replacing

Array = NDArray[np.generic]

_BYTES = ("image", "relit")  # stored as whole numbers of 255ths
_HALVES = ("depth", "normals")  # stored in half precision: depth to 0.05 %, normals to 0.03 degrees
_INDICES = ("segmentation", "count", "instances")  # stored as bytes, read as int64
_SOURCES = ("rng", "texture", "scene", "raycast", "cast", "shade", "render", "store")


def default_cache() -> Path:
    """Where generated data are kept: $ANYTEACHER_CACHE, else ~/.cache/anyteacher."""
    return Path(os.environ.get("ANYTEACHER_CACHE") or Path.home() / ".cache" / "anyteacher")


@cache
def generator_hash() -> str:
    """Names the state of the generator: another one for any change of its source."""
    digest = hashlib.sha256()
    for name in _SOURCES:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()[:12]


def pack(target: str, values: Tensor) -> Array:
    """Values of a batch in their compact form."""
    if target in _BYTES:
        values = (values * 255.0 + 0.5).to(torch.uint8)
    else:
        values = values.to(torch.float16 if target in _HALVES else torch.uint8)
    array: Array = values.cpu().numpy()
    return array


def unpack(target: str, array: Array) -> Tensor:
    """The values of a compact form, in the types of the batch."""
    values = torch.from_numpy(np.ascontiguousarray(array))
    if target in _INDICES:
        return values.to(torch.int64)
    values = values.to(torch.float32)
    return values / 255.0 if target in _BYTES else values


def write(
    folder: Path,
    targets: Sequence[str],
    length: int,
    make: Callable[[int, int], dict[str, Array]],
    *,
    step: int,
    title: str,
) -> None:
    """Generates the files of some targets, with a bar that shows how far it is.

    Args:
        folder: is made if need be.
        targets: whose files to write.
        length: number of scenes.
        make: gives the compact values of the scenes from one number up to another.
        step: scenes made at once.
        title: what to write beside the bar.
    """
    with ExitStack() as stack:
        bar = stack.enter_context(_bar())
        job = bar.add_task(title, total=length)
        paths = {target: folder / f"{target}.npy" for target in targets}
        parts = {t: stack.enter_context(replacing(path)) for t, path in paths.items()}
        files = {t: stack.enter_context(part.open("wb")) for t, part in parts.items()}
        for start in range(0, length, step):
            end = min(start + step, length)
            for target, array in make(start, end).items():
                if start == 0:
                    header = np.lib.format.header_data_from_array_1_0(array)
                    header["shape"] = (length, *array.shape[1:])
                    np.lib.format.write_array_header_1_0(files[target], header)
                files[target].write(array.tobytes())
            bar.update(job, completed=end)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=parent_process() is not None,  # a worker's bar would cross its parent's
    )


def read(path: Path, length: int) -> Array:
    """Maps a file into memory.

    Raises:
        DataError: when the file is truncated or is no such file.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # a damaged header is Python that does not parse, in many ways
        problem = str(error)
    else:
        scenes = len(array) if array.ndim else 0
        expected, found = array.offset + array.nbytes, path.stat().st_size
        if scenes == length and expected == found:
            return array
        problem = (
            f"it holds {scenes} scenes instead of {length}"
            if scenes != length
            else f"it has {found} bytes instead of {expected}"
        )
    raise DataError(
        f"The cached file {path} is damaged ({problem}). Delete it: it will be generated again."
    )
