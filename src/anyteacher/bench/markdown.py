"""Sections of a page as Markdown, for the documentation."""

from collections.abc import Iterator, Sequence

from anyteacher.report import DifferenceMatrix, Section, Table

NOTICE = "<!-- Made by `anyteacher bench report`. Edit what makes it, not this file. -->"


def markdown(title: str, intro: str, sections: Sequence[Section]) -> str:
    """The text and the tables of a page; charts are left out, whose numbers the tables hold."""
    return "\n".join([NOTICE, f"# {title}", "", intro, "", *_parts(sections)])


def _parts(sections: Sequence[Section]) -> Iterator[str]:
    for section in sections:
        yield f"## {section.title}\n"
        if section.text:
            yield f"{section.text}\n"
        for block in section.blocks:
            table = block.table() if isinstance(block, DifferenceMatrix) else block
            if isinstance(table, Table):
                yield from _table(table)


def _table(table: Table) -> Iterator[str]:
    if table.caption:
        yield f"**{table.caption}**\n"
    yield _row(table.columns)
    yield _row(["---:" if numeric else "---" for numeric in table.numeric()])
    for row in table.texts():
        yield _row(row)
    yield ""
    if table.note:
        yield f"{table.note}\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
