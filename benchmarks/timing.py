"""Fair timing of things that take turns."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Settings:
    """How long to measure, and by which clock."""

    seconds: float = 10.0  # for each line of a table; whole steps get five times as long
    least_rounds: int = 7
    most_rounds: int = 3000
    clock: str = "processor"  # or "wall"
    device: str = "cpu"
    seed: int = 0


@dataclass(frozen=True)
class Ratio:
    """Median over rounds of one side's time by the other's, and its interval.

    The interval covers the median of endlessly many rounds with about 95 %, whatever their
    distribution: it ends at the order statistics that a binomial count of rounds allows.

    >>> str(Ratio.of([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6]))
    '1.300 [1.000, 1.600]'
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Ratio":
        """The ratio that these rounds show."""
        ordered, count = sorted(values), len(values)
        below = max(0, math.floor(count / 2 - 0.98 * math.sqrt(count)))
        return cls(statistics.median(ordered), ordered[below], ordered[count - 1 - below])

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Rounds:
    """The seconds that each side took in each round."""

    def __init__(
        self, sides: Mapping[str, Callable[[], Any]], settings: Settings, seconds: float
    ) -> None:
        clock = time.process_time if settings.clock == "processor" else time.perf_counter
        wait = torch.cuda.synchronize if settings.device.startswith("cuda") else _nothing
        names = list(sides)
        self.seconds: dict[str, list[float]] = {name: [] for name in names}
        for name in names * 2:  # the first calls allocate and choose kernels
            sides[name]()
        wait()
        gc.collect()
        gc.disable()
        end = clock() + seconds
        try:
            while True:
                count = len(self.seconds[names[0]])
                enough = count >= settings.least_rounds and clock() > end
                if enough or count >= settings.most_rounds:
                    break
                turn = count // 2 % len(names)  # everyone is first, last, and next to everyone
                order = names[turn:] + names[:turn]
                for name in order if count % 2 == 0 else reversed(order):
                    start = clock()
                    sides[name]()
                    wait()
                    self.seconds[name].append(clock() - start)
                gc.collect(0)
        finally:
            gc.enable()

    def ratio(self, side: str, other: str) -> Ratio:
        """One side to another."""
        pairs = zip(self.seconds[side], self.seconds[other], strict=True)
        return Ratio.of([a / b for a, b in pairs])

    def milliseconds(self, side: str) -> float:
        """The median of one side."""
        return 1e3 * statistics.median(self.seconds[side])

    def more(self, side: str, other: str) -> float:
        """Median of the extra microseconds of one side."""
        pairs = zip(self.seconds[side], self.seconds[other], strict=True)
        return 1e6 * statistics.median(a - b for a, b in pairs)


def _nothing() -> None:
    pass
