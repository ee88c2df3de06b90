"""How much a page shows, so that many runs still make one that opens at once."""

from collections.abc import Callable
from dataclasses import dataclass

from anyteacher.report import Page

LIMIT = 3_000_000
"""Bytes below which a page is to stay."""


@dataclass(frozen=True)
class Detail:
    """How much is drawn.

    Attributes:
        points: Of a line at most.
        samples: Images on which components are shown, for each arm.
        edge: Pixels of the longer side of a picture at most.
    """

    points: int
    samples: int
    edge: int


LEVELS = (Detail(100, 4, 64), Detail(50, 2, 32), Detail(25, 1, 24))


def fitting(make: Callable[[Detail], Page]) -> Page:
    """The page of the most detail that stays below the limit; else the one of the least."""
    for detail in LEVELS[:-1]:
        page = make(detail)
        if len(page.html().encode()) < LIMIT:
            return page
    return make(LEVELS[-1])
