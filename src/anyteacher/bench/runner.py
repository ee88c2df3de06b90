"""Many runs on one machine: so many processes at once, and what failed.

A process that dies, as where memory runs out, takes its run with it, which is recorded as failed,
and is replaced.
"""

import os
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path

import torch

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


class Crew:
    """So many processes that make runs, each one after the other, until the block ends.

    Args:
        folder: Of the benchmark; made if need be.
        jobs: How many. Each has its share of the processor's cores, one at least; a GPU they share.
        call: Runs a subcommand of `anyteacher` with its arguments.
    """

    def __init__(self, folder: Path, jobs: int, call: Command) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.call = folder.resolve(), call
        self._members = [_Member(max(1, usable_cores() // jobs)) for _ in range(jobs)]

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            member.stop()

    def run(self, cells: Sequence[Cell]) -> Iterator[Record]:
        """Makes runs, none given twice; gives the record of each as it ends."""
        waiting: queue.SimpleQueue[Cell] = queue.SimpleQueue()
        for cell in cells:
            waiting.put(cell)
        ended: queue.SimpleQueue[Record | BaseException] = queue.SimpleQueue()
        stopped = threading.Event()

        def work(member: _Member) -> None:
            try:
                while not stopped.is_set():
                    ended.put(member.run(waiting.get_nowait(), self.folder, self.call))
            except queue.Empty:
                pass
            except BaseException as error:
                ended.put(error)

        members = self._members[: len(cells)]
        threads = [threading.Thread(target=work, args=(member,)) for member in members]
        for thread in threads:
            thread.start()
        try:
            for _ in cells:
                record = ended.get()
                if isinstance(record, BaseException):
                    raise record
                yield record
        finally:
            stopped.set()
            for thread in threads:
                thread.join()


class _Member:
    """One process, which is replaced when it dies."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = self._started()

    def _started(self) -> ProcessPoolExecutor:
        # A fresh process: a fork of one that has used threads may hang.
        return ProcessPoolExecutor(1, get_context("spawn"), _begin, (self.threads,))

    def run(self, cell: Cell, folder: Path, call: Command) -> Record:
        """A run's record."""
        try:
            return self._pool.submit(run_cell, cell, folder, self.threads, call).result()
        except BrokenProcessPool:
            self.stop()
            self._pool = self._started()
            error = "The process has died; where memory ran out, fewer jobs help."
            record = Record(cell.key, "failed", cell.description(), cell.settings(), error=error)
            write_record(folder, record)
            return record

    def stop(self) -> None:
        """Ends the process once its run has ended."""
        self._pool.shutdown(cancel_futures=True)


def _begin(threads: int) -> None:
    """Sets up a process, which ends with its parent: nothing would wait for what it makes."""
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
