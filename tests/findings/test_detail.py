import pytest

from anyteacher.errors import ConfigError
from anyteacher.findings.detail import LEVELS, LIMIT, fitting
from anyteacher.report import Page


@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [
        ((0.5, 0.4, 0.3, 0.2), 0),
        ((1.1, 0.9, 0.3, 0.2), 1),
        ((3, 2, 0.9, 0.2), 2),
        ((9, 4, 2, 0.9), 3),
    ],
)
def test_the_most_detail_that_fits_is_taken(sizes, chosen):
    def make(detail):
        return Page(str(LEVELS.index(detail)), "x" * int(LIMIT * sizes[LEVELS.index(detail)]), [])

    assert fitting(make, 3).title == str(chosen)


def test_a_page_that_fits_nowhere_says_how_many_runs_would():
    page = Page("", "x" * 2 * LIMIT, [])
    with pytest.raises(ConfigError, match=r"60 runs would be 6\.0 MB.* about 29 of them at a time"):
        fitting(lambda _: page, 60)


def test_each_level_shows_less_than_the_one_before():
    for name in ("points", "samples", "edge"):
        values = [getattr(detail, name) for detail in LEVELS]
        assert values == sorted(set(values), reverse=True)
