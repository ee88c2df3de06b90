"""How far a grid is: a bar on a terminal; elsewhere, as in the log of a cluster's job, lines."""

import time
from collections.abc import Callable
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_SECONDS = 60.0  # between two lines


class Tally:
    """Counts runs while the block lasts, with the time left.

    Args:
        name: Of what is run.
        done: Those that were made before.
        console: Where it is told.
        clock: Seconds; another one in tests.
    """

    def __init__(
        self,
        name: str,
        done: int,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.total, self.done = name, done, done
        self.console = console or Console()
        self._clock, self._before, self._start = clock, done, clock()
        self._told = self._start
        self._bar: Progress | None = None
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} runs"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._bar.add_task(name, total=done, completed=done)

    def __enter__(self) -> "Tally":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        else:
            self._tell()

    def count(self, stage: str) -> None:
        """One more run of a stage is made."""
        self.done += 1
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], advance=1, description=f"{self.name}: {stage}")
        elif self._clock() >= self._told + _SECONDS:
            self._tell()

    def expect(self, total: int) -> None:
        """So many runs there are in all, as is known now."""
        self.total = total
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], total=total)

    def say(self, text: str) -> None:
        """Tells something between two runs."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _tell(self) -> None:
        now = self._told = self._clock()
        spent, made = now - self._start, self.done - self._before
        left = ""
        if made and self.total > self.done:
            left = f", about {_duration(spent / made * (self.total - self.done))} left"
        self.say(f"{self.name}: {self.done}/{self.total} runs, {_duration(spent)} so far{left}")


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
