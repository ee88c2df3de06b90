"""Line charts as SVG, drawn once for wide and once for narrow screens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from anyteacher.errors import ConfigError
from anyteacher.report.axes import LINE, Axis, drawable, span, width_of
from anyteacher.report.blocks import Block, Table, note, numbers
from anyteacher.report.markup import escape, four, inline

# Six colours and five dashes: series differ in print and for the colour-blind as well.
COLORS = 6
DASHES = ("", "9 4", "3.5 3", "12 3 3 3", "18 5")


@dataclass(frozen=True)
class Series:
    """A named line. A value that is not finite leaves a gap.

    Raises:
        ConfigError: when it is empty, or has more values than places or fewer.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or not self.x:
            raise ConfigError(
                f"The series {self.label!r} has {len(self.x)} places and {len(self.y)} values. "
                "Give it one value a place, and at least one."
            )


@dataclass(frozen=True)
class LineChart(Block):
    """Several lines over a common axis.

    Attributes:
        title: what the chart shows.
        x_label: what the horizontal axis counts, with its unit.
        y_label: what the vertical axis measures, with its unit.
        series: the lines.
        log_y: whether the vertical axis is logarithmic.
        note: what a reader should know to read it, below it.

    Raises:
        ConfigError: when nothing can be drawn: no series, no finite value, or a value of zero or
            below on a logarithmic axis.
    """

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    log_y: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if self.log_y and any(value <= 0 for line in self.series for value in line.y):
            raise ConfigError(
                f"The chart {self.title!r} has values of zero or below on a logarithmic axis. "
                "Draw it with log_y=False."
            )
        if not any(self._segments(line) for line in self.series):
            raise ConfigError(
                f"The chart {self.title!r} has no finite value in {len(self.series)} series. "
                "Leave it out, and say in the text what happened."
            )

    def html(self) -> str:
        """A figure with both drawings, a legend where labels have no room, and the numbers."""
        # Labels beside the lines are read faster than a legend, as long as they fit.
        beside = len(self.series) <= 8 and all(len(line.label) <= 28 for line in self.series)
        keys = "".join(
            f'<li><svg viewBox="0 0 36 10" aria-hidden="true"><path {_stroke(position)} '
            f'd="M1 5H35" /></svg>{inline(line.label)}</li>'
            for position, line in enumerate(self.series)
        )
        legend = f'<ul class="legend{" narrow" if beside else ""}">{keys}</ul>'
        drawings = self.svg(760, beside=beside, kind="wide") + self.svg(380, kind="narrow")
        return (
            f'<figure class="block"><figcaption>{inline(self.title)}</figcaption>{legend}'
            f"{drawings}{note(self.note)}{numbers(self._table())}</figure>"
        )

    def svg(self, width: float, *, beside: bool = False, kind: str = "") -> str:
        """The drawing alone.

        Args:
            width: its width; text has the same size at any width.
            beside: whether each line has its label at its right end.
            kind: a class for the style sheet.
        """
        drawn = [segments for line in self.series if (segments := self._segments(line))]
        points = [point for segments in drawn for segment in segments for point in segment]
        right = 12 + max(width_of(line.label) for line in self.series) if beside else 10
        height = max(0.42 * width, 230.0, (len(self.series) + 4) * LINE if beside else 0)
        low, high = span([y for _, y in points], self.log_y)
        y_axis = Axis(low, high, height - 44, 30, self.log_y)
        y_ticks = y_axis.ticks(max(3, round(height / 50)))
        left = 14 + max((width_of(text) for _, text in y_ticks), default=0.0)
        places = sorted({x for x, _ in points})
        first, last = (places[0], places[-1]) if len(places) > 1 else span(places)
        x_axis = Axis(first, last, left + 8, width - right - 8)
        whole = all(float(x).is_integer() for x in places)

        parts = [f'<text class="quiet" x="0" y="12">{escape(self.y_label)}</text>']
        for value, text in y_ticks:
            y = y_axis(value)
            parts.append(f'<path class="grid" d="M{left:.1f} {y:.1f}H{width - right:.1f}" />')
            parts.append(
                f'<text class="quiet end" x="{left - 8:.1f}" y="{y + 4:.1f}">{escape(text)}</text>'
            )
        for value, text in x_axis.ticks(max(3, round(width / 95)), whole):
            x, edge = x_axis(value), height - 44
            parts.append(f'<path class="tick" d="M{x:.1f} {edge:.1f}v5" />')
            parts.append(f'<text class="mid" x="{x:.1f}" y="{edge + 20:.1f}">{escape(text)}</text>')
        parts.append(f'<path class="axis" d="M{left:.1f} {height - 44:.1f}H{width - right:.1f}" />')
        middle = (left + width - right) / 2
        parts.append(
            f'<text class="quiet mid" x="{middle:.1f}" y="{height - 5:.1f}">'
            f"{escape(self.x_label)}</text>"
        )
        for position, line in enumerate(self.series):
            for segment in self._segments(line):
                places_drawn = [f"{x_axis(x):.1f} {y_axis(y):.1f}" for x, y in segment]
                if len(places_drawn) == 1:
                    cx, cy = places_drawn[0].split()
                    parts.append(
                        f'<circle class="s{position % COLORS}" cx="{cx}" cy="{cy}" r="3.5" />'
                    )
                else:
                    path = "M" + "L".join(places_drawn)
                    parts.append(f'<path {_stroke(position)} d="{path}" />')
        if beside:
            parts += self._labels(x_axis, y_axis, width - right)
        return (
            f'<svg class="chart {kind}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
            f'aria-label="{escape(self._spoken())}">{"".join(parts)}</svg>'
        )

    def _labels(self, x_axis: Axis, y_axis: Axis, edge: float) -> list[str]:
        """A label at the end of each line, moved up or down where two would overlap."""
        ends = []
        for position, line in enumerate(self.series):
            segments = self._segments(line)
            x, y = segments[-1][-1] if segments else (x_axis.high, y_axis.low)
            ends.append((y_axis(y), x_axis(x), position))
        ends.sort()
        heights = [end[0] for end in ends]
        for i in range(1, len(heights)):
            heights[i] = max(heights[i], heights[i - 1] + LINE)
        # What was pushed below the plot comes back up, and pushes its neighbours up in turn.
        limit = y_axis.start
        for i in reversed(range(len(heights))):
            heights[i] = limit = min(heights[i], limit)
            limit -= LINE
        parts = []
        for (y, x, position), height in zip(ends, heights, strict=True):
            color, line = f"s{position % COLORS}", self.series[position]
            if self._segments(line):
                parts.append(
                    f'<path class="leader" d="M{x + 4:.1f} {y:.1f}L{edge + 6:.1f} {height:.1f}" />'
                    f'<circle class="{color}" cx="{x:.1f}" cy="{y:.1f}" r="3.5" />'
                )
            parts.append(
                f'<text class="{color}" x="{edge + 10:.1f}" y="{height + 4:.1f}">'
                f"{escape(line.label)}</text>"
            )
        return parts

    def _segments(self, line: Series) -> list[list[tuple[float, float]]]:
        """The runs of neighbouring points that can be drawn."""
        segments: list[list[tuple[float, float]]] = [[]]
        for x, y in zip(line.x, line.y, strict=True):
            if drawable(x) and drawable(y, self.log_y):
                segments[-1].append((x, y))
            elif segments[-1]:
                segments.append([])
        return [segment for segment in segments if segment]

    def _spoken(self) -> str:
        parts = [f"{self.title}. {self.y_label} over {self.x_label}."]
        for line in self.series:
            last = f"at {line.y[-1]:.4g}" if math.isfinite(line.y[-1]) else "without a number"
            parts.append(f"{line.label} ends {last}.")
        return " ".join(parts)

    def _table(self) -> Table:
        values = [dict(zip(line.x, line.y, strict=True)) for line in self.series]
        rows = [
            [f"{x:.6g}", *(four(line[x]) if x in line else "" for line in values)]
            for x in sorted({x for line in values for x in line})
        ]
        return Table([self.x_label, *(line.label for line in self.series)], rows)


def _stroke(position: int) -> str:
    dash = DASHES[position % len(DASHES)]
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'class="line s{position % COLORS}"{dashes}'
