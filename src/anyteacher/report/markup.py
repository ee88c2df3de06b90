"""Text and numbers as safe, well-formed markup."""

import html
import math
import re

# Neither HTML nor XML may hold these, whatever a file name or an error message brought along.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def escape(text: str) -> str:
    """Text for an element or a quoted attribute.

    >>> escape('<b> & "c"')
    '&lt;b&gt; &amp; &quot;c&quot;'
    """
    return html.escape(_FORBIDDEN.sub("\ufffd", text))


def inline(text: str) -> str:
    """Escaped text in which `backticks` mark code."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", escape(text))


def paragraphs(text: str, kind: str = "") -> str:
    """One paragraph for each part between empty lines."""
    opening = f'<p class="{kind}">' if kind else "<p>"
    parts = (part.strip() for part in re.split(r"\n\s*\n", text))
    return "".join(f"{opening}{inline(part)}</p>" for part in parts if part)


def number(value: float, decimals: int) -> str:
    """A number with a true minus sign and without a negative zero.

    >>> number(-0.1234, 2), number(-0.001, 1), number(float("nan"), 1)
    ('−0.12', '0.0', 'nan')
    """
    shown = f"{value:.{decimals}f}"
    return shown.lstrip("-") if float(shown) == 0 else signed(shown)


def four(value: float) -> str:
    """A number of four digits, and a dash for what is infinite or not a number.

    >>> four(0.123456), four(float("nan"))
    ('0.1235', '–')
    """
    return f"{value:.4g}" if math.isfinite(value) else "–"


def signed(text: str) -> str:
    """A formatted number with a minus sign, which is as wide as a plus, for its hyphen."""
    return text.replace("-", "\N{MINUS SIGN}")


def shorten(text: str, limit: int) -> str:
    """The text, cut to at most `limit` characters.

    >>> shorten("traditional", 6)
    'tradi…'
    """
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
