"""A table of numbers from 0 to 1 with a shade behind each, lighter for larger ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from anyteacher import pictures
from anyteacher.errors import ConfigError
from anyteacher.report.blocks import Block, Scale, captioned, note
from anyteacher.report.markup import inline, number

_EITHER = 0.179  # the luminance on which black and white are equally readable (WCAG 2)


@dataclass(frozen=True)
class Matrix(Block):
    """Numbers of two sides, each with the shade that it has on a scale from 0 to 1.

    Attributes:
        rows: One name a row.
        columns: One name a column.
        values: The numbers, row by row, from 0 to 1.
        label: What the numbers are, beside the scale.
        caption: What the matrix shows, above it.
        corner: What the rows and the columns are.
        note: What a reader should know to read it, below it.

    Raises:
        ConfigError: when there is not one number for each row and column, or one is out of range.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float]]
    label: str
    caption: str = ""
    corner: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        lengths = [len(row) for row in self.values]
        if not self.rows or not self.columns or lengths != [len(self.columns)] * len(self.rows):
            raise ConfigError(
                f"The matrix {self.caption!r} has rows of {lengths} numbers for {len(self.rows)} "
                f"rows and {len(self.columns)} columns. Give one number for each of both."
            )
        if not all(-1e-6 <= value <= 1 + 1e-6 for row in self.values for value in row):
            raise ConfigError(
                f"The matrix {self.caption!r} holds a number that is not between 0 and 1."
            )

    def html(self) -> str:
        """The matrix, in a box that scrolls sideways where the screen is narrow."""
        heads = "".join(f'<th scope="col">{inline(name)}</th>' for name in self.columns)
        body = "".join(
            f'<tr><th scope="row">{inline(name)}</th>{"".join(map(_cell, row))}</tr>'
            for name, row in zip(self.rows, self.values, strict=True)
        )
        table = (
            f'<table class="matrix"><thead><tr><td>{inline(self.corner)}</td>{heads}</tr></thead>'
            f"<tbody>{body}</tbody></table>"
        )
        scale = Scale(self.label, "0", "1", pictures.scale_table("error")).html()
        return captioned(table, self.caption, f'<div class="scales">{scale}</div>{note(self.note)}')


def _cell(value: float) -> str:
    color = pictures.scale_table("error")[round(min(max(value, 0.0), 1.0) * 255)].tolist()
    ink = "#000" if _luminance(color) > _EITHER else "#fff"
    style = f"background:#{bytes(color).hex()};color:{ink}"
    return f'<td style="{style}">{number(value, 2)}</td>'


def _luminance(color: Sequence[int]) -> float:
    """Relative luminance of an sRGB colour (WCAG 2), from 0 to 1."""
    shares = [part / 255 for part in color]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
