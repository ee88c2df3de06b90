"""The tables of a report, and sentences, in the terminal."""

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from anyteacher.report.blocks import Table

_ANY_WIDTH = 10_000


def say(text: str) -> None:
    """Prints a sentence as it is, in one line where it goes to a file or pipe."""
    console = Console()
    console.print(
        text, highlight=False, markup=False, emoji=False, soft_wrap=not console.is_terminal
    )


def print_table(table: Table, console: Console | None = None) -> None:
    """Prints a table with its caption and note, taking every text as it is.

    In a file or a pipe it is as wide as it needs; a terminal has the width it has.
    """
    console = console or Console()
    drawn = RichTable(
        title=Text(table.caption) if table.caption else None,
        caption=Text(table.note) if table.note else None,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column, numeric in zip(table.columns, table.numeric(), strict=True):
        drawn.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in table.texts():
        drawn.add_row(*(Text(cell) for cell in row))
    if not console.is_terminal:
        unbounded = console.options.update(width=_ANY_WIDTH)
        needed = Measurement.get(console, unbounded, drawn).maximum
        console = Console(file=console.file, width=max(needed, console.width))
    console.print(drawn)
