"""A whole page: one file that needs no other and loads nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from anyteacher.images import replacing
from anyteacher.report.blocks import Block
from anyteacher.report.markup import escape, inline, paragraphs

# The browser itself then refuses whatever is not in the file.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Section:
    """A heading, a text, and what belongs to it.

    In texts, an empty line parts paragraphs and `backticks` mark code.
    """

    title: str
    text: str
    blocks: Sequence[Block] = ()


@dataclass(frozen=True)
class Page:
    """A report."""

    title: str
    intro: str
    sections: Sequence[Section]

    def html(self) -> str:
        """The page as HTML that is well-formed XML as well."""
        style = (files("anyteacher.report") / "page.css").read_text(encoding="utf-8")
        links = "".join(
            f'<li><a href="#part-{position}">{inline(section.title)}</a></li>'
            for position, section in enumerate(self.sections, 1)
        )
        contents = f'<nav aria-label="Contents"><ol>{links}</ol></nav>'
        body = "".join(
            f'<section aria-labelledby="part-{position}">'
            f'<h2 id="part-{position}">{inline(section.title)}</h2>{paragraphs(section.text)}'
            f"{''.join(block.html() for block in section.blocks)}</section>\n"
            for position, section in enumerate(self.sections, 1)
        )
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8" />\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}" />\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1" />\n'
            '<meta name="color-scheme" content="light dark" />\n'
            f"<title>{escape(self.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
            f"<header><h1>{inline(self.title)}</h1>{paragraphs(self.intro, 'lead')}"
            f"{contents if len(self.sections) > 2 else ''}</header>\n"
            f"<main>\n{body}</main>\n</body>\n</html>\n"
        )


def write_page(page: Page, path: Path) -> None:
    """Writes a page; a reader sees the old file or the whole new one, never a part."""
    content = page.html()
    with replacing(path) as part:
        part.write_text(content, encoding="utf-8")
