"""Line charts: what is drawn, where, and what cannot be."""

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyteacher.errors import ConfigError
from anyteacher.report import LineChart, Series

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
quick = settings(max_examples=50, deadline=None)


def chart(*series, **options):
    lines = [Series(f"line {i}", range(len(y)), y) for i, y in enumerate(series)]
    return LineChart("title", "epoch", "error", lines, **options)


def drawn(svg, kind):
    """The elements of this class, after a check that every coordinate is a finite number."""
    tree = ET.fromstring(svg)
    for element in tree.iter():
        for name in ("d", "x", "y", "cx", "cy", "viewBox"):
            assert not re.search("nan|inf|e", element.get(name) or "", re.IGNORECASE)
    return [element for element in tree.iter() if kind in (element.get("class") or "").split()]


def path_numbers(element):
    return [float(number) for number in NUMBER.findall(element.get("d"))]


def path(element):
    numbers = path_numbers(element)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def test_a_line_goes_through_its_points():
    (line,) = drawn(chart([3.0, 1.0, 2.0]).svg(760), "line")
    (x0, y0), (x1, y1), (x2, y2) = path(line)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y1 - y0 == pytest.approx(2 * (y1 - y2), abs=0.2)
    assert y0 < y2 < y1


def test_equal_ratios_are_equally_high_on_a_log_axis():
    (line,) = drawn(chart([100.0, 10.0, 1.0], log_y=True).svg(760), "line")
    (_, y0), (_, y1), (_, y2) = path(line)
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2)


@pytest.mark.parametrize("hole", [math.nan, math.inf, -math.inf, 1e300])
def test_what_is_not_finite_is_a_gap(hole):
    svg = chart([1.0, 2.0, hole, 3.0, 2.0, hole, hole, 4.0]).svg(760)
    assert [len(path(line)) for line in drawn(svg, "line")] == [2, 2]
    assert sum(element.tag == "circle" for element in drawn(svg, "s0")) == 1


def test_a_single_point_is_drawn():
    (point,) = drawn(chart([0.0]).svg(380), "s0")
    assert 0 < float(point.get("cx")) < 380


def test_a_line_without_a_finite_value_keeps_its_label():
    page = chart([1.0, 2.0], [math.nan, math.nan]).html()
    assert len(drawn(page, "line")) == 2 + 2  # once in each drawing, and two keys in the legend
    assert sum(element.text == "line 1" for element in drawn(page, "s1")) == 1


def test_twenty_lines_all_look_different():
    looks = [
        (key.get("class"), key.get("stroke-dasharray"))
        for key in drawn(chart(*[[1.0, 2.0]] * 20).svg(760), "line")
    ]
    assert len(set(looks)) == 20


@quick
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8))
def test_labels_beside_lines_never_overlap(ends):
    svg = chart(*([0.0, end] for end in ends)).svg(760, beside=True)
    labels = [element for element in drawn(svg, "chart")[0] if "line" in (element.text or "")]
    heights = sorted(float(label.get("y")) for label in labels)
    assert len(heights) == len(ends)
    assert all(b - a > 15 for a, b in pairwise(heights))
    assert heights[0] > 0
    (axis,) = drawn(svg, "axis")
    assert heights[-1] <= path_numbers(axis)[1] + 5


@quick
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=6),
    st.sampled_from([380, 760]),
)
def test_any_numbers_give_a_drawing_inside_its_frame_or_an_error(numbers, width):
    if not any(abs(value) <= 1e100 for value in numbers):
        with pytest.raises(ConfigError, match="no finite value"):
            chart(numbers)
        return
    svg = chart(numbers).svg(width)
    height = float(drawn(svg, "chart")[0].get("viewBox").split()[3])
    for line in drawn(svg, "line"):
        assert all(0 <= x <= width and 0 <= y <= height for x, y in path(line))


def test_a_chart_says_what_it_shows_and_lists_its_numbers():
    page = chart([0.5, 0.25], [1.0, math.nan]).html()
    assert 'aria-label="title. error over epoch. line 0 ends at 0.25. line 1 ends without' in page
    cells = [cell.text for cell in ET.fromstring(page).iter("td")]
    assert cells == ["0.5", "1", "0.25", "–"]
    reason = "–: nothing was logged there, or what is infinite or not a number."
    assert reason in page
    assert reason not in chart([0.5, 0.25], [1.0, 2.0]).html()


def test_hostile_text_is_shown_as_text():
    bad = "</text></svg><script>1</script>\"'\x00"
    lines = LineChart(bad, bad, bad, [Series(bad, [0, 1], [0, 1]), Series("b", [0], [1])], note=bad)
    assert not list(ET.fromstring(lines.html()).iter("script"))


def test_errors_of_line_charts():
    with pytest.raises(ConfigError, match="series 'a' has 2 places and 1 values"):
        Series("a", [1, 2], [1])
    with pytest.raises(ConfigError, match="series 'a' has 0 places"):
        Series("a", [], [])
    with pytest.raises(ConfigError, match="no finite value in 1 series"):
        chart([math.nan])
    with pytest.raises(ConfigError, match="no finite value in 0 series"):
        chart()
    with pytest.raises(ConfigError, match=r"below on a logarithmic axis.*log_y=False"):
        chart([1.0, 0.0], log_y=True)
