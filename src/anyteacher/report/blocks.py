"""What a section is made of: tables, facts and pictures. Charts have modules of their own."""

import base64
import io
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from anyteacher.errors import ConfigError
from anyteacher.report.markup import escape, inline, number

Cell = str | int | float

_SENTENCE = 60  # characters: longer cells are sentences


class Block(ABC):
    """A piece of a page."""

    @abstractmethod
    def html(self) -> str:
        """The block as well-formed markup, safe for any content."""


@dataclass(frozen=True)
class Table(Block):
    """A table, the same on a page and in the terminal.

    Attributes:
        columns: one heading a column.
        rows: cells, row by row. The first one of each row names the row.
        caption: what the table shows, above it.
        note: what a reader should know to read it, below it.
        decimals: places after the point of every float; strings are shown as they are.

    Raises:
        ConfigError: when a row has more or fewer cells than there are columns.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    note: str = ""
    decimals: int = 3

    def __post_init__(self) -> None:
        for position, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ConfigError(
                    f"Row {position} of the table {self.caption!r} has {len(row)} cells for "
                    f"{len(self.columns)} columns. Give every row one cell a column."
                )

    def texts(self) -> list[list[str]]:
        """The cells as they are shown."""
        return [
            [number(c, self.decimals) if isinstance(c, float) else str(c) for c in row]
            for row in self.rows
        ]

    def numeric(self) -> list[bool]:
        """For each column, whether no cell starts with a letter: it is aligned to the right."""
        return [
            all(not isinstance(cell, str) or not cell[:1].isalpha() for cell in column)
            for column in zip(*self.rows, strict=True)
        ] or [True] * len(self.columns)

    def html(self) -> str:
        """The table, in a box that scrolls sideways where the screen is narrow."""
        texts = self.texts()
        kinds = [f' class="{kind}"' if kind else "" for kind in self._kinds(texts)]
        heads = "".join(
            f'<th scope="col"{kind}>{inline(column)}</th>'
            for column, kind in zip(self.columns, kinds, strict=True)
        )
        body = ""
        for row in texts:
            cells = [f"<td{k}>{inline(c)}</td>" for c, k in zip(row, kinds, strict=True)]
            cells[:1] = [f'<th scope="row">{inline(cell)}</th>' for cell in row[:1]]
            body += f"<tr>{''.join(cells)}</tr>"
        table = f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
        return captioned(table, self.caption, note(self.note))

    def _kinds(self, texts: Sequence[Sequence[str]]) -> list[str]:
        """For each column how it is set: numbers, words, or sentences, which need more room."""
        columns = zip(*texts, strict=True)
        longest = [max(map(len, cells)) for cells in columns] or [0] * len(self.columns)
        return [
            "" if numeric else "words sentences" if length > _SENTENCE else "words"
            for numeric, length in zip(self.numeric(), longest, strict=True)
        ]


@dataclass(frozen=True)
class Facts(Block):
    """Names and values, such as what was run on what machine."""

    items: Mapping[str, str]

    def html(self) -> str:
        """A list of terms."""
        pairs = "".join(
            f"<div><dt>{inline(name)}</dt><dd>{inline(value)}</dd></div>"
            for name, value in self.items.items()
        )
        return f'<dl class="block facts">{pairs}</dl>'


@dataclass(frozen=True)
class Scale:
    """The meaning of the colours of pictures.

    Attributes:
        label: what the colours stand for, with its unit.
        low: what the first colour means.
        high: what the last colour means.
        colors: the colours from low to high.
    """

    label: str
    low: str
    high: str
    colors: UInt8[Tensor, "n 3"]

    def html(self) -> str:
        """A bar of the colours between the two ends."""
        stops = [self.colors[i * (len(self.colors) - 1) // 15].tolist() for i in range(16)]
        gradient = ",".join("#" + bytes(stop).hex() for stop in stops)
        return (
            f'<div class="scale"><span>{inline(self.label)}</span><span>{inline(self.low)}</span>'
            f'<i style="background:linear-gradient(90deg,{gradient})"></i>'
            f"<span>{inline(self.high)}</span></div>"
        )


@dataclass(frozen=True)
class Pictures(Block):
    """A grid of pictures with a heading over each column and a name beside each row.

    Attributes:
        columns: one heading a column.
        rows: pairs of the name of a row and its pictures, as PNG data (see `png`).
        caption: what the pictures show, above them.
        note: what a reader should know to read them, below them.
        scales: the meaning of the colours.

    Raises:
        ConfigError: when a row has more or fewer pictures than there are columns, or what it holds
            is not PNG data.
    """

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[bytes]]]
    caption: str = ""
    note: str = ""
    scales: Sequence[Scale] = ()

    def __post_init__(self) -> None:
        for name, row in self.rows:
            if len(row) != len(self.columns):
                raise ConfigError(
                    f"Row {name!r} has {len(row)} pictures for {len(self.columns)} columns. "
                    "Give every row one picture a column."
                )
            if not all(data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 24 for data in row):
                raise ConfigError(
                    f"Row {name!r} holds data that is not a PNG picture. Make it with report.png."
                )

    def html(self) -> str:
        """A table of pictures, in a box that scrolls sideways where the screen is narrow."""
        heads = "".join(f'<th scope="col">{inline(column)}</th>' for column in self.columns)
        body = ""
        for name, row in self.rows:
            cells = "".join(
                f"<td>{_picture(data, f'{name}: {column}')}</td>"
                for data, column in zip(row, self.columns, strict=True)
            )
            body += f'<tr><th scope="row">{inline(name)}</th>{cells}</tr>'
        table = (
            f'<table class="pictures" style="--columns:{len(self.columns)}">'
            f"<thead><tr><td></td>{heads}</tr></thead>"
            f"<tbody>{body}</tbody></table>"
        )
        scales = "".join(scale.html() for scale in self.scales)
        scales = f'<div class="scales">{scales}</div>' if scales else ""
        return captioned(table, self.caption, scales + note(self.note))


def png(picture: UInt8[Tensor, "3 h w"]) -> bytes:
    """A picture as PNG data."""
    buffer = io.BytesIO()
    pixels = picture.cpu().permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def numbers(table: Table) -> str:
    """The numbers of a chart, which are shown on demand; a dash in them is explained."""
    dashes = any(cell == "–" for row in table.rows for cell in row)
    if dashes and not table.note:
        reason = "–: nothing was logged there, or what is infinite or not a number."
        table = replace(table, note=reason)
    return f"<details><summary>The numbers</summary>{table.html()}</details>"


def note(text: str) -> str:
    """A remark under a block."""
    return f'<p class="note">{inline(text)}</p>' if text else ""


def captioned(table: str, caption: str, below: str) -> str:
    """A table in a box that scrolls sideways, also by keyboard, under a caption that stays."""
    name = escape(caption or "Table")
    above = f'<p class="caption">{inline(caption)}</p>' if caption else ""
    return (
        f'<div class="block">{above}<div class="scroll" role="region" tabindex="0" '
        f'aria-label="{name}">{table}</div>{below}</div>'
    )


def _picture(data: bytes, alt: str) -> str:
    # The size of a PNG stands right after the name of its first chunk.
    width, height = struct.unpack(">II", data[16:24])
    source = base64.b64encode(data).decode()
    return (
        f'<img alt="{escape(alt)}" width="{width}" height="{height}" '
        f'src="data:image/png;base64,{source}" />'
    )
