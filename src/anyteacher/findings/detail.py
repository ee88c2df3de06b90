"""How much a page shows, so that many runs still make one that opens at once."""

from collections.abc import Callable
from dataclasses import dataclass

from anyteacher.errors import ConfigError
from anyteacher.report import Page

LIMIT = 3_000_000
"""Bytes below which a page is to stay."""


@dataclass(frozen=True)
class Detail:
    """How much is drawn.

    Attributes:
        points: Of a line at most.
        samples: Images on which components are shown, for each arm; 0 for no pictures.
        edge: Pixels of the longer side of a picture at most.
    """

    points: int
    samples: int
    edge: int


LEVELS = (Detail(100, 4, 64), Detail(50, 2, 32), Detail(25, 1, 24), Detail(12, 0, 16))


def fitting(make: Callable[[Detail], Page], runs: int) -> Page:
    """The page of the most detail that stays below the limit.

    Args:
        make: Makes the page with so much detail.
        runs: How many runs it shows.

    Raises:
        ConfigError: when that of the least detail does not, with about how many runs would fit.
    """
    size = 0
    for detail in LEVELS:
        page = make(detail)
        size = len(page.html().encode())
        if size < LIMIT:
            return page
    raise ConfigError(
        f"The page of {runs} runs would be {size / 1e6:.1f} MB, and a page is to stay below "
        f"{LIMIT / 1e6:.0f} MB. Give about {max(1, runs * LIMIT // size)} of them at a time."
    )
