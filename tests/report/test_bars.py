"""Bars: how high they are, where they stand, and that they differ without colours."""

import math
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from anyteacher.errors import ConfigError
from anyteacher.report import BarChart, Bars


def chart(*values, **options):
    bars = [Bars(f"side {i}", v) for i, v in enumerate(values)]
    return BarChart("title", "direction", "share, %", bars, **options)


def rects(svg, kind):
    found = [e for e in ET.fromstring(svg).iter("rect") if e.get("class") == kind]
    return [tuple(float(e.get(k)) for k in ("x", "y", "width", "height")) for e in found]


def test_bars_are_as_high_as_their_values_and_end_on_the_axis():
    svg = chart([4.0, 2.0, 0.0], [1.0, 3.0, 4.0]).svg(760)
    hollow, filled = rects(svg, "hollow"), rects(svg, "filled")
    unit = hollow[0][3] / 4
    assert [r[3] / unit for r in hollow] == pytest.approx([4, 2, 0], abs=0.01)
    assert [r[3] / unit for r in filled] == pytest.approx([1, 3, 4], abs=0.01)
    feet = [r[1] + r[3] for r in hollow + filled]
    assert feet == pytest.approx([feet[0]] * 6, abs=0.11)


@pytest.mark.parametrize("width", [380, 760])
@pytest.mark.parametrize("count", [1, 3, 32])
def test_bars_stand_side_by_side_inside_the_frame(width, count):
    svg = chart([1.0] * count, [2.0] * count).svg(width)
    bars = sorted(rects(svg, "hollow") + rects(svg, "filled"))
    assert len(bars) == 2 * count
    assert bars[0][0] > 0
    assert bars[-1][0] + bars[-1][2] <= width
    for one, other in pairwise(bars):
        assert one[0] + one[2] <= other[0] + 0.05


def test_a_cross_stands_below_what_is_marked():
    svg = chart([1.0, 2.0], marked=[False, True], mark="dropped").svg(760)
    (cross,) = [e for e in ET.fromstring(svg).iter("path") if e.get("class") == "cross"]
    x, y, width, height = rects(svg, "hollow")[1]
    start = cross.get("d").removeprefix("M").split("l")[0].split()
    assert x < float(start[0]) + 3.5 < x + width
    assert float(start[1]) > y + height


def test_the_numbers_and_marks_are_listed_and_spoken():
    page = chart([0.5, 0.25], [1.0, 0.0], marked=[True, False], mark="dropped").html()
    cells = [cell.text for cell in ET.fromstring(page).iter("td")]
    assert cells == ["0.5", "1", "×", "0.25", "0", None]
    assert "side 0: the first is 0.5. side 1: the first is 1. 1 of 2: dropped." in page
    assert page.count("<svg") == 2 + 3  # two drawings, three keys


def test_all_zeros_are_drawn_flat():
    assert [r[3] for r in rects(chart([0.0, 0.0]).svg(380), "hollow")] == [0.0, 0.0]


def test_hostile_text_is_shown_as_text():
    bad = "</text></svg><script>1</script>\"'\x00"
    page = BarChart(bad, bad, bad, [Bars(bad, [1.0])], [True], bad, bad).html()
    assert not list(ET.fromstring(page).iter("script"))


def test_errors_of_bars():
    with pytest.raises(ConfigError, match=r"2 sequences of lengths \[1, 2\]"):
        chart([1.0], [1.0, 2.0])
    with pytest.raises(ConfigError, match=r"1 sequences of lengths \[1, 2\], marks included"):
        chart([1.0], marked=[True, False])
    for values in ([], [[]], [[1.0]] * 3):
        with pytest.raises(ConfigError, match="one or two of the same length"):
            chart(*values)
    for bad in (-0.1, math.nan, math.inf):
        with pytest.raises(ConfigError, match="'side 0' of 'title' are not all finite and 0"):
            chart([bad])
