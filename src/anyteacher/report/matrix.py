"""A table of numbers from 0 to 1 with a shade behind each, lighter for larger ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from anyteacher import pictures
from anyteacher.errors import ConfigError
from anyteacher.report.blocks import Block, Scale, captioned, note
from anyteacher.report.markup import inline, number


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
    # Perceived lightness, roughly; the scale is dark below its middle.
    ink = "#000" if 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 128 else "#fff"
    style = f"background:#{bytes(color).hex()};color:{ink}"
    return f'<td style="{style}">{number(value, 2)}</td>'
