"""Interval charts: what is drawn, where, and what cannot be."""

import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyteacher.errors import ConfigError
from anyteacher.report import Interval, IntervalChart

quick = settings(max_examples=100, deadline=None)


def drawn(svg, kind):
    """The elements of this class, after a check that every coordinate is a finite number."""
    tree = ET.fromstring(svg)
    for element in tree.iter():
        for name in ("d", "x", "y", "cx", "cy", "viewBox"):
            assert not re.search("nan|inf|e", element.get(name) or "", re.IGNORECASE)
    return [element for element in tree.iter() if kind in (element.get("class") or "").split()]


def path_numbers(element):
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", element.get("d"))]


@pytest.mark.parametrize("stacked", [False, True])
def test_intervals_are_drawn_to_scale(stacked):
    rows = [Interval("a", -2, -3, -1), Interval("b", 1, -1, 3)]
    svg = IntervalChart("title", "difference", rows, "min").svg(760, stacked=stacked)
    first, second = drawn(svg, "closed"), drawn(svg, "open")
    assert (len(first), len(second)) == (1, 1)
    (axis,) = drawn(svg, "axis")
    zero = path_numbers(axis)[0]
    left, right = zero - float(first[0].get("cx")), float(second[0].get("cx")) - zero
    assert left == pytest.approx(2 * right, abs=0.3)
    assert left > 0
    starts = [path_numbers(bar)[0] for bar in drawn(svg, "bar")]
    assert starts == pytest.approx([zero - 3 * right, zero - right], abs=0.3)


def test_an_interval_shows_two_digits_of_its_width():
    assert str(Interval("a", -0.01234, -0.0251, 0.00042)) == "−0.012 [−0.025, 0.000]"
    assert str(Interval("a", 1234.5, 1000, 1500)) == "1234 [1000, 1500]"
    assert str(Interval("a", 0, 0, 0)) == "0.0 [0.0, 0.0]"


@pytest.mark.parametrize(
    ("mode", "left", "right"), [("min", "better", "worse"), ("max", "worse", "better")]
)
def test_the_better_side_is_named(mode, left, right):
    svg = IntervalChart("t", "x", [Interval("a", 0, -1, 1)], mode).svg(760)
    texts = [element.text for element in drawn(svg, "quiet")]
    assert texts[:2] == [f"← {left}", f"{right} →"]


@pytest.mark.parametrize("ends", [(math.nan, 0, 1), (0, -math.inf, 1), (2, 0, 1), (0, 1, 2)])
def test_errors_of_intervals(ends):
    with pytest.raises(ConfigError, match="The interval 'a' is"):
        Interval("a", *ends)
    with pytest.raises(ConfigError, match="no interval"):
        IntervalChart("t", "x", [], "min")


def test_hostile_text_is_shown_as_text():
    bad = "</text></svg><script>1</script>\"'\x00"
    chart = IntervalChart(bad, bad, [Interval(bad, 0, -1, 1)], "min", note=bad)
    assert not list(ET.fromstring(chart.html()).iter("script"))


def test_asked_for_decimals_are_shown():
    assert str(Interval("a", 1, -0.5, 2.25, decimals=1)) == "1.0 [−0.5, 2.2]"
    assert str(Interval("a", 1, 0, 2, decimals=0)) == "1 [0, 2]"


def test_numbers_of_many_digits_are_short():
    assert str(Interval("a", -2.5e12, -1e15, 3e9)) == "−2.5e+12 [−1e+15, 3e+09]"
    assert str(Interval("a", 1e8, 1e8 - 1e-6, 1e8 + 1e-6)) == "100000000 [100000000, 100000000]"


def own_texts(element):
    return ["".join(part.tail or "" for part in text) for text in element]


@pytest.mark.parametrize("stacked", [False, True])
def test_a_long_label_takes_two_lines_and_is_cut_behind_them(stacked):
    long = "digits, TrailingEnergy(rank=0.25, fraction=True), 100"
    rows = [Interval(long, 1, 0, 2), Interval("short", 1, 0, 2), Interval("word " * 40, 1, 0, 2)]
    tree = ET.fromstring(IntervalChart("t", "x", rows, "max").svg(760, stacked=stacked))
    labels = [e for e in tree.iter("text") if e.find("title") is not None]
    told = own_texts(labels)
    whole = [label.find("title").text for label in labels]
    assert whole == [long, long, "short", rows[2].label, rows[2].label]
    assert " ".join(told[:2]) == long
    assert told[2] == "short"
    assert told[4].endswith("…")
    heights = [float(label.get("y")) for label in labels]
    assert heights == sorted(heights)
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 15  # no line on another


def test_the_figure_says_what_the_points_mean():
    page = IntervalChart("title", "metres", [Interval("a", 1, 0.5, 2)], "min", note="Of 3.").html()
    assert "Of 3. A filled point: its interval leaves zero out; a hollow one: zero lies in" in page


ends = st.lists(st.floats(-1e100, 1e100), min_size=3, max_size=3).map(sorted)


@quick
@given(st.lists(ends, min_size=1, max_size=4), st.booleans())
def test_any_intervals_are_drawn_inside_the_frame_from_low_to_high(rows, stacked):
    width = 380 if stacked else 760
    named = [Interval("a" * 60, value, low, high) for low, value, high in rows]
    svg = IntervalChart("title", "difference", named, "max").svg(width, stacked=stacked)
    height = float(drawn(svg, "chart")[0].get("viewBox").split()[3])
    points = drawn(svg, "open") + drawn(svg, "closed")
    assert len(points) == len(rows)
    for bar in drawn(svg, "bar"):
        start, y, _, _, _, end, *_ = path_numbers(bar)
        assert 0 <= start <= end <= width
        assert 0 <= y <= height
    for point in points:
        assert 0 <= float(point.get("cx")) <= width
    # By their numbers and not by their looks: an interval with zero has a hollow point.
    assert len(drawn(svg, "open")) == sum(low <= 0 <= high for low, _, high in rows)


def test_both_screens_have_a_drawing_and_a_reader_hears_the_numbers():
    page = IntervalChart("title", "metres", [Interval("a", 1, 0.5, 2)], "min", note="of 3").html()
    assert len(drawn(page, "wide")) == len(drawn(page, "narrow")) == 1
    assert page.count('aria-label="title. metres. a: 1.0 [0.5, 2.0]."') == 2
    assert "of 3" in page
