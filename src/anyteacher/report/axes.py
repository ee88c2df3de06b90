"""Axes of charts: ranges, round ticks and their labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from anyteacher.report.markup import signed

# Beyond this a number is drawn as a gap: sums and ratios of such numbers overflow.
_LARGEST = 1e100

FONT = 13.0
LINE = 18.0


def drawable(value: float, log: bool = False) -> bool:
    """Whether a number has a place on an axis."""
    return abs(value) <= _LARGEST and (not log or value >= 1 / _LARGEST)


def width_of(text: str) -> float:
    """About as wide as the text is drawn, in units of the drawing."""
    return 0.58 * FONT * len(text)


@dataclass(frozen=True)
class Axis:
    """A map from values to places on a drawing.

    Attributes:
        low: the smallest value.
        high: the largest value, above low.
        start: where the smallest value is drawn.
        end: where the largest value is drawn.
        log: whether equal ratios, rather than differences, are equally far apart.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where a value is drawn."""
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int, whole: bool = False) -> list[tuple[float, str]]:
        """About `count` round values with their labels.

        Args:
            count: how many are wanted, at least 1.
            whole: whether only whole numbers have a meaning, as for epochs.
        """
        if self.log and (values := _log_ticks(self.low, self.high, count)):
            return [(value, signed(f"{value:.6g}")) for value in values]
        step = _round_step((self.high - self.low) / count)
        step = max(1.0, step) if whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        plain = decimals <= 6 and max(abs(self.low), abs(self.high)) < 1e6
        return [
            (
                k * step,
                signed(f"{k * step:.{decimals}f}" if plain else f"{k * step:.6g}"),
            )
            for k in range(first, last + 1)
        ]

    def counted(self, count: int) -> list[tuple[float, str]]:
        """About `count` whole numbers from 1, which is among them: for what is counted."""
        found = [tick for tick in self.ticks(count, whole=True) if tick[0] > 1]
        gap = found[1][0] - found[0][0] if len(found) > 1 else 1.0
        return [(1.0, "1"), *(tick for tick in found if tick[0] - 1 > gap / 2)]


def span(values: Sequence[float], log: bool = False) -> tuple[float, float]:
    """The range of an axis that shows all these values with a little air around them."""
    low, high = min(values), max(values)
    if log:
        air = max((high / low) ** 0.05, 1.05)
        return low / air, high * air
    # Below a ten-thousandth of the values, labels of six digits would no longer differ.
    air = max(0.05 * (high - low), 1e-4 * max(abs(low), abs(high))) or 1.0
    return low - air, high + air


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next((f * power for f in (1.0, 2.0, 5.0) if f * power >= rough * 0.999), 10 * power)


def _log_ticks(low: float, high: float, count: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    stride = max(1, math.ceil((last - first) / count))
    powers = [10.0**k for k in range(first, last + 1, stride)]
    for factors, least in (((1,), 3 if stride == 1 else 1), ((1, 3), 3), ((1, 2, 5), 3)):
        values = [f * power for power in powers for f in factors if low <= f * power <= high]
        if len(values) >= least:
            return values
    return []
