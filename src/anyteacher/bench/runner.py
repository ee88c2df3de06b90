"""Many runs on one machine: so many processes at once, a bar with the time left, and what failed.

Every process has one worker of its own. One that dies, as where memory runs out, takes its run with
it, which is recorded as failed, and is replaced.
"""

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from anyteacher.bench.cell import Cell
from anyteacher.bench.record import Record, write_record
from anyteacher.bench.worker import Command, run_cell
from anyteacher.errors import ConfigError
from anyteacher.report import usable_cores


def parse_shard(text: str) -> tuple[int, int]:
    """A machine's share of the runs from `i/n`, with i from 0: the i-th of n machines.

    >>> parse_shard("2/8")
    (2, 8)

    Raises:
        ConfigError: when it is something else.
    """
    place, slash, count = text.partition("/")
    if slash and place.isdecimal() and count.isdecimal() and int(place) < int(count):
        return int(place), int(count)
    raise ConfigError(
        f"'{text}' is no share of the runs. Write i/n, such as 0/4 to 3/4 on four machines."
    )


def is_mine(cell: Cell, shard: tuple[int, int]) -> bool:
    """Whether a run belongs to this machine's share; each belongs to one."""
    place, count = shard
    return int(cell.key, 16) % count == place


def run_all(cells: Sequence[Cell], folder: Path, *, jobs: int, call: Command) -> Iterator[Record]:
    """Makes runs, so many at once, and gives the record of each as it ends.

    Args:
        cells: The runs; none twice.
        folder: Of the benchmark; made if need be.
        jobs: How many at once. Each has its share of the processor's cores, one at least; on a GPU
            all share the one.
        call: Runs a subcommand of `anyteacher` with its arguments.
    """
    folder.mkdir(parents=True, exist_ok=True)
    threads = max(1, usable_cores() // jobs)
    waiting: queue.SimpleQueue[Cell] = queue.SimpleQueue()
    for cell in cells:
        waiting.put(cell)
    ended: queue.SimpleQueue[Record | BaseException] = queue.SimpleQueue()
    stopped = threading.Event()

    def work() -> None:
        try:
            with _Worker(threads) as worker:
                while not stopped.is_set():
                    ended.put(worker.run(waiting.get_nowait(), folder.resolve(), call))
        except queue.Empty:
            pass
        except BaseException as error:
            ended.put(error)

    workers = [threading.Thread(target=work) for _ in range(min(jobs, len(cells)))]
    for one in workers:
        one.start()
    try:
        for _ in cells:
            record = ended.get()
            if isinstance(record, BaseException):
                raise record
            yield record
    finally:
        stopped.set()
        for one in workers:
            one.join()


class _Worker:
    """One process that makes one run after the other, and is replaced when it dies."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = self._started()

    def _started(self) -> ProcessPoolExecutor:
        # A fresh process: a fork of one that has used threads may hang.
        return ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (self.threads,))

    def run(self, cell: Cell, folder: Path, call: Command) -> Record:
        """A run's record."""
        try:
            return self._pool.submit(run_cell, cell, folder, self.threads, call).result()
        except BrokenProcessPool:
            self._pool.shutdown()
            self._pool = self._started()
            error = "The process has died; where memory ran out, fewer jobs help."
            record = Record(cell.key, "failed", cell.description(), cell.settings(), error=error)
            write_record(folder, record)
            return record

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def progress(console: Console) -> Progress:
    """A bar that counts runs, with the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} runs"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
