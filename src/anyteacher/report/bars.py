"""Bars side by side as SVG, hollow ones against filled ones, for wide and for narrow screens."""

from collections.abc import Sequence
from dataclasses import dataclass

from anyteacher.errors import ConfigError
from anyteacher.report.axes import LINE, Axis, drawable, width_of
from anyteacher.report.blocks import Block, Table, note, numbers
from anyteacher.report.markup import escape, inline

_KINDS = ("hollow", "filled")  # told apart without colours


@dataclass(frozen=True)
class Bars:
    """A named sequence of values, none below zero."""

    label: str
    values: Sequence[float]


@dataclass(frozen=True)
class BarChart(Block):
    """One or two sequences of bars over the numbers from 1.

    Attributes:
        title: What the chart shows.
        x_label: What is counted.
        y_label: What is measured, with its unit.
        bars: The hollow bars and the filled ones, as many of either.
        marked: For each place, whether it has a cross below it.
        mark: What a cross means; empty for no crosses.
        note: What a reader should know to read it, below it.

    Raises:
        ConfigError: when there is not one sequence or two of equal length, or a value cannot be
            drawn.
    """

    title: str
    x_label: str
    y_label: str
    bars: Sequence[Bars]
    marked: Sequence[bool] = ()
    mark: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        lengths = [len(part.values) for part in self.bars]
        if self.marked:
            lengths.append(len(self.marked))
        if not 1 <= len(self.bars) <= len(_KINDS) or len(set(lengths)) != 1 or not lengths[0]:
            raise ConfigError(
                f"The chart {self.title!r} has {len(self.bars)} sequences of lengths {lengths}, "
                "marks included. Give it one or two of the same length."
            )
        for part in self.bars:
            if not all(drawable(value) and value >= 0 for value in part.values):
                raise ConfigError(
                    f"The bars {part.label!r} of {self.title!r} are not all finite and 0 or more. "
                    "Leave the chart out, and say in the text what happened."
                )

    def html(self) -> str:
        """A figure with both drawings, a legend, and the numbers."""
        keys = [
            f'<li><svg viewBox="0 0 36 10" aria-hidden="true"><rect class="{kind}" x="10" y="1" '
            f'width="16" height="8" /></svg>{inline(part.label)}</li>'
            for kind, part in zip(_KINDS, self.bars, strict=False)
        ]
        if self.marked and self.mark:
            keys.append(
                '<li><svg viewBox="0 0 36 10" aria-hidden="true"><path class="cross" '
                f'd="M14 1l8 8m0 -8l-8 8" /></svg>{inline(self.mark)}</li>'
            )
        drawings = self.svg(760, kind="wide") + self.svg(380, kind="narrow")
        return (
            f'<figure class="block"><figcaption>{inline(self.title)}</figcaption>'
            f'<ul class="legend">{"".join(keys)}</ul>{drawings}{note(self.note)}'
            f"{numbers(self._table())}</figure>"
        )

    def svg(self, width: float, *, kind: str = "") -> str:
        """The drawing alone.

        Args:
            width: Its width; text has the same size at any width.
            kind: A class for the style sheet.
        """
        count = len(self.bars[0].values)
        height = max(0.36 * width, 230.0)
        top, bottom = 1.4 * LINE, height - 56
        highest = max(value for part in self.bars for value in part.values) or 1.0
        y_axis = Axis(0.0, 1.04 * highest, bottom, top)
        y_ticks = y_axis.ticks(max(3, round(height / 60)))
        left = 14 + max(width_of(text) for _, text in y_ticks)
        x_axis = Axis(0.5, count + 0.5, left, width - 10)
        slot = (width - 10 - left) / count
        thick = min(28.0, 0.8 * slot / len(self.bars))

        parts = [f'<text class="quiet" x="0" y="12">{escape(self.y_label)}</text>']
        for value, text in y_ticks:
            y = y_axis(value)
            parts.append(f'<path class="grid" d="M{left:.1f} {y:.1f}H{width - 10:.1f}" />')
            parts.append(
                f'<text class="quiet end" x="{left - 8:.1f}" y="{y + 4:.1f}">{escape(text)}</text>'
            )
        for place in range(count):
            start = x_axis(place + 1) - thick * len(self.bars) / 2
            for position, part in enumerate(self.bars):
                y = y_axis(part.values[place])
                parts.append(
                    f'<rect class="{_KINDS[position]}" x="{start + position * thick:.1f}" '
                    f'y="{y:.1f}" width="{thick * 0.9:.1f}" height="{bottom - y:.1f}" />'
                )
            if self.marked and self.marked[place]:
                reach = min(3.5, 0.35 * slot)
                x = x_axis(place + 1)
                parts.append(
                    f'<path class="cross" d="M{x - reach:.1f} {bottom + 4:.1f}l{2 * reach:.1f} '
                    f'{2 * reach:.1f}m0 {-2 * reach:.1f}l{-2 * reach:.1f} {2 * reach:.1f}" />'
                )
        parts.append(f'<path class="axis" d="M{left:.1f} {bottom:.1f}H{width - 10:.1f}" />')
        for value, text in x_axis.counted(max(2, min(count, round(width / 60)))):
            parts.append(
                f'<text class="mid" x="{x_axis(value):.1f}" y="{bottom + 27:.1f}">{text}</text>'
            )
        middle = (left + width - 10) / 2
        parts.append(
            f'<text class="quiet mid" x="{middle:.1f}" y="{height - 6:.1f}">'
            f"{escape(self.x_label)}</text>"
        )
        return (
            f'<svg class="chart {kind}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
            f'aria-label="{escape(self._spoken())}">{"".join(parts)}</svg>'
        )

    def _spoken(self) -> str:
        firsts = [f"{part.label}: the first is {part.values[0]:.4g}." for part in self.bars]
        marks = f" {sum(self.marked)} of {len(self.marked)}: {self.mark}." if self.marked else ""
        return f"{self.title}. {self.y_label} by {self.x_label}. {' '.join(firsts)}{marks}"

    def _table(self) -> Table:
        marks = [self.mark] if self.marked else []
        rows = [
            [
                str(place + 1),
                *(f"{part.values[place]:.4g}" for part in self.bars),
                *(["×" if self.marked[place] else ""] if self.marked else []),
            ]
            for place in range(len(self.bars[0].values))
        ]
        return Table([self.x_label, *(part.label for part in self.bars), *marks], rows)
