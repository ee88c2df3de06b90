import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyteacher.report.axes import Axis, drawable, span

quick = settings(max_examples=200, deadline=None)
values = st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=5)
positive = st.lists(st.floats(1e-100, 1e100), min_size=1, max_size=5)


@quick
@given(st.one_of(values.map(lambda v: (v, False)), positive.map(lambda v: (v, True))))
def test_every_value_is_drawn_inside_and_ticks_differ(case):
    numbers, log = case
    low, high = span(numbers, log)
    axis = Axis(low, high, 10, 310, log)
    assert all(10 <= axis(value) <= 310 for value in numbers)
    ticks = axis.ticks(5)
    assert 1 <= len(ticks) <= 12
    assert all(9 <= axis(value) <= 311 for value, _ in ticks)
    assert len({text for _, text in ticks}) == len(ticks)


@quick
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_round_evenly_apart_and_say_where_they_are(low, size):
    axis = Axis(low, low + size, 0, 1)
    ticks = axis.ticks(5)
    steps = [b - a for (a, _), (b, _) in pairwise(ticks)]
    for step in steps:
        lead = step / 10 ** math.floor(math.log10(step) + 1e-6)
        assert min(abs(lead - round_one) for round_one in (1, 2, 5, 10)) < 1e-3
    for value, text in ticks:
        assert float(text.replace("−", "-")) == pytest.approx(value, rel=1e-5, abs=size * 1e-5)


def test_ticks_of_epochs_are_whole():
    assert [text for _, text in Axis(0, 3, 0, 1).ticks(8, whole=True)] == ["0", "1", "2", "3"]


def test_ticks_by_hand():
    assert [text for _, text in Axis(-0.014, 0.011, 0, 1).ticks(4)] == ["−0.01", "0.00", "0.01"]
    assert [text for _, text in Axis(0.05, 200, 0, 1, True).ticks(5)] == ["0.1", "1", "10", "100"]
    assert [text for _, text in Axis(0.8, 4, 0, 1, True).ticks(5)] == ["1", "2", "3", "4"]


def test_a_log_axis_spreads_ratios_evenly():
    axis = Axis(0.1, 1000, 0, 4, True)
    assert [axis(10.0**k) for k in range(-1, 4)] == pytest.approx([0, 1, 2, 3, 4])


def test_what_has_no_place():
    assert not any(map(drawable, (math.nan, math.inf, -math.inf, 1e200)))
    assert drawable(0.0)
    assert not drawable(0.0, log=True)


@pytest.mark.parametrize("high", [1, 2, 7, 16, 32, 100, 512])
def test_what_is_counted_has_ticks_from_one_that_do_not_crowd(high):
    places = [value for value, _ in Axis(0.5, high + 0.5, 0, 100).counted(6)]
    assert places[0] == 1
    assert all(place == int(place) and place <= high for place in places)
    gaps = [b - a for a, b in pairwise(places)]
    assert all(gap >= 0.5 * max(gaps) for gap in gaps)
    assert len(places) <= 9
