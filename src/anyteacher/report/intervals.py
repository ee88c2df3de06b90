"""Comparisons with their 95 % intervals as SVG, drawn for wide and for narrow screens."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from anyteacher.errors import ConfigError
from anyteacher.report.axes import LINE, Axis, drawable, span, width_of
from anyteacher.report.blocks import Block, note
from anyteacher.report.markup import escape, inline, number, signed

_EDGE = 40.0  # below the rows: ticks and the label of the axis
_DIGITS = 9  # of a number at most; more would take the place of the drawing
_LINES, _WIDE, _NARROW = 2, 38, 48  # of a label: lines, and the characters of each
_LEGEND = "A filled point: its interval leaves zero out; a hollow one: zero lies in it."


@dataclass(frozen=True)
class Interval:
    """A named estimate and its interval.

    Attributes:
        label: what is estimated.
        value: the estimate.
        low: lower end of the interval.
        high: upper end of the interval.
        decimals: places after the point; None for two digits of the interval's width.

    Raises:
        ConfigError: when a number is not finite, or low <= value <= high does not hold.
    """

    label: str
    value: float
    low: float
    high: float
    decimals: int | None = None

    def __post_init__(self) -> None:
        finite = all(drawable(end) for end in (self.low, self.value, self.high))
        if not finite or not self.low <= self.value <= self.high:
            raise ConfigError(
                f"The interval {self.label!r} is {self.value} [{self.low}, {self.high}]. "
                "Give three finite numbers with low <= value <= high."
            )

    def __str__(self) -> str:
        """The numbers."""
        ends = (self.value, self.low, self.high)
        largest = max(map(abs, ends))
        decimals = self.decimals
        if decimals is None:
            width = self.high - self.low or abs(self.value) or 1.0
            room = _DIGITS - len(f"{largest:.0f}")
            decimals = max(0, min(room, 1 - math.floor(math.log10(width))))
        if largest < 10**_DIGITS:
            value, low, high = (number(v, decimals) for v in ends)
        else:
            value, low, high = (signed(f"{v:.3g}") for v in ends)
        return f"{value} [{low}, {high}]"


@dataclass(frozen=True)
class IntervalChart(Block):
    """Differences from a baseline, each with its interval, against the line of no difference.

    A filled point stands for an interval without zero, a hollow one for an interval with it, and
    the figure says so. A long label takes two lines.

    Attributes:
        title: what is compared with what.
        x_label: what is measured, with its unit.
        rows: the comparisons, from top to bottom.
        mode: whether a smaller ("min") or a larger ("max") value is better.
        note: what a reader should know to read it, below it.

    Raises:
        ConfigError: when there is no row.
    """

    title: str
    x_label: str
    rows: Sequence[Interval]
    mode: Literal["min", "max"]
    note: str = ""

    def __post_init__(self) -> None:
        if not self.rows:
            raise ConfigError(f"The chart {self.title!r} has no interval. Leave it out.")

    def html(self) -> str:
        """A figure with both drawings."""
        drawings = self.svg(760, kind="wide") + self.svg(380, stacked=True, kind="narrow")
        return (
            f'<figure class="block"><figcaption>{inline(self.title)}</figcaption>'
            f"{drawings}{note(f'{self.note} {_LEGEND}'.strip())}</figure>"
        )

    def svg(self, width: float, *, stacked: bool = False, kind: str = "") -> str:
        """The drawing alone.

        Args:
            width: its width; text has the same size at any width.
            stacked: whether label and numbers stand above the interval instead of beside it.
            kind: a class for the style sheet.
        """
        labels = [_wrapped(row.label, _NARROW if stacked else _WIDE) for row in self.rows]
        ends = [end for row in self.rows for end in (row.low, row.high)]
        low, high = span([0.0, *ends])
        left = 10.0 if stacked else 24 + max(width_of(line) for lines in labels for line in lines)
        right = 10.0 if stacked else 20 + max(width_of(str(row)) for row in self.rows)
        axis = Axis(low, high, left, width - right)
        extra = LINE * (max(map(len, labels)) - 1) if stacked else 0.0
        step, top = (4 * LINE + extra if stacked else 2 * LINE), 1.5 * LINE
        bottom = top + step * len(self.rows)
        zero = axis(0.0)

        parts = []
        for value, text in axis.ticks(max(2, round((width - left - right) / 90))):
            x = axis(value)
            parts.append(f'<path class="grid" d="M{x:.1f} {top:.1f}V{bottom:.1f}" />')
            parts.append(
                f'<text class="mid" x="{x:.1f}" y="{bottom + LINE:.1f}">{escape(text)}</text>'
            )
        parts.append(f'<path class="axis" d="M{zero:.1f} {top - 6:.1f}V{bottom:.1f}" />')
        parts += self._directions(zero, left, width - right)
        middle = (left + width - right) / 2
        parts.append(
            f'<text class="quiet mid" x="{middle:.1f}" y="{bottom + _EDGE - 4:.1f}">'
            f"{escape(self.x_label)}</text>"
        )
        for position, (row, lines) in enumerate(zip(self.rows, labels, strict=True)):
            y = top + step * (position + 0.5) + (1.1 * LINE + extra / 2 if stacked else 0)
            # The last line of a label is above the numbers, or the middle of all beside the bar.
            more = LINE * (len(lines) - 1)
            first = y - 1.9 * LINE - more if stacked else y + 4 - more / 2
            full = f"<title>{escape(row.label)}</title>"
            for place, line in enumerate(lines):
                at = f"{first + place * LINE:.1f}"
                parts.append(f'<text x="0" y="{at}">{full}{escape(line)}</text>')
            if stacked:
                parts.append(f'<text class="quiet" x="0" y="{y - 0.95 * LINE:.1f}">{row}</text>')
            else:
                parts.append(f'<text class="end" x="{width:.1f}" y="{y + 4:.1f}">{row}</text>')
            state = "open" if row.low <= 0 <= row.high else "closed"
            start, end = axis(row.low), axis(row.high)
            parts.append(
                f'<path class="bar" d="M{start:.1f} {y - 5:.1f}v10m0 -5H{end:.1f}m0 -5v10" />'
                f'<circle class="{state}" cx="{axis(row.value):.1f}" cy="{y:.1f}" r="5" />'
            )
        spoken = " ".join(f"{row.label}: {row}." for row in self.rows)
        return (
            f'<svg class="chart {kind}" viewBox="0 0 {width:.0f} {bottom + _EDGE:.0f}" role="img" '
            f'aria-label="{escape(f"{self.title}. {self.x_label}. {spoken}")}">'
            f"{''.join(parts)}</svg>"
        )

    def _directions(self, zero: float, left: float, right: float) -> list[str]:
        """Which side of zero is the better one, where there is room to say so."""
        below, above = ("better", "worse") if self.mode == "min" else ("worse", "better")
        parts = []
        if zero - left > width_of(f"← {below}") + 8:
            parts.append(f'<text class="quiet end" x="{zero - 8:.1f}" y="12">← {below}</text>')
        if right - zero > width_of(f"{above} →") + 8:
            parts.append(f'<text class="quiet" x="{zero + 8:.1f}" y="12">{above} →</text>')
        return parts


def _wrapped(label: str, width: int) -> list[str]:
    """A label in lines of so many characters; what is longer than these is cut."""
    return textwrap.wrap(label, width, max_lines=_LINES, placeholder="…") or [""]
