"""A table of differences with their intervals, and a shade for how large each is."""

from collections.abc import Sequence
from dataclasses import dataclass

from anyteacher.errors import ConfigError
from anyteacher.report.blocks import Block, Table, captioned, note
from anyteacher.report.markup import inline, number

_BETTER, _WORSE = "0,114,178", "196,78,0"  # the blue and the orange of the lines
_DEEPEST = 0.45  # opacity, at which text is readable on either paper


@dataclass(frozen=True)
class Difference:
    """A difference, more is better, and the ends of its interval."""

    value: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether the interval leaves zero out."""
        return not self.low <= 0 <= self.high


@dataclass(frozen=True)
class DifferenceMatrix(Block):
    """Differences of two sides: blue is better, orange is worse, deeper is larger.

    What is certain is bold, so that the colours are not needed to read it.

    Attributes:
        rows: One name a row.
        columns: One name a column.
        values: Row by row; None where nothing was measured.
        caption: What the matrix shows, with the unit, above it.
        corner: What the rows and the columns are.
        note: What a reader should know to read it, below it.
        decimals: Places after the point.
        deepest: The difference that has the deepest shade, where several matrices share a scale;
            0 for the largest one here.

    Raises:
        ConfigError: when there is not one entry for each row and column.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[Difference | None]]
    caption: str = ""
    corner: str = ""
    note: str = ""
    decimals: int = 1
    deepest: float = 0.0

    def __post_init__(self) -> None:
        lengths = [len(row) for row in self.values]
        if not self.rows or lengths != [len(self.columns)] * len(self.rows):
            raise ConfigError(
                f"The matrix {self.caption!r} has rows of {lengths} entries for {len(self.rows)} "
                f"rows and {len(self.columns)} columns. Give one entry for each of both."
            )

    def html(self) -> str:
        """The matrix, in a box that scrolls sideways where the screen is narrow."""
        largest = self.deepest or self.largest() or 1.0
        heads = "".join(f'<th scope="col">{inline(name)}</th>' for name in self.columns)
        body = "".join(
            f'<tr><th scope="row">{inline(name)}</th>'
            f"{''.join(self._cell(entry, largest) for entry in row)}</tr>"
            for name, row in zip(self.rows, self.values, strict=True)
        )
        head = f"<thead><tr><td>{inline(self.corner)}</td>{heads}</tr></thead>"
        table = f'<table class="matrix differences">{head}<tbody>{body}</tbody></table>'
        return captioned(table, self.caption, note(self.note))

    def largest(self) -> float:
        """The largest difference to either side; 0 where nothing was measured."""
        known = (abs(entry.value) for row in self.values for entry in row if entry is not None)
        return max(known, default=0.0)

    def table(self) -> Table:
        """The same as text; bold as Markdown has it."""
        rows = [
            [name, *(self._text(entry, "**") for entry in row)]
            for name, row in zip(self.rows, self.values, strict=True)
        ]
        return Table([self.corner, *self.columns], rows, self.caption, self.note)

    def _text(self, entry: Difference | None, strong: str = "") -> str:
        if entry is None:
            return "·"
        value, low, high = (number(v, self.decimals) for v in (entry.value, entry.low, entry.high))
        around = strong if entry.certain else ""
        return f"{around}{value} [{low}, {high}]{around}"

    def _cell(self, entry: Difference | None, largest: float) -> str:
        text = inline(self._text(entry))
        if entry is None:
            return f"<td>{text}</td>"
        value, _, interval = text.partition(" ")
        value = f"<strong>{value}</strong>" if entry.certain else value
        shade = _DEEPEST * min(1.0, abs(entry.value) / largest)
        style = f"background:rgba({_BETTER if entry.value > 0 else _WORSE},{shade:.3f})"
        return f'<td style="{style}">{value}<br /><small>{interval}</small></td>'
