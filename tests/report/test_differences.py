import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from anyteacher.errors import ConfigError
from anyteacher.report import Difference, DifferenceMatrix

MATRIX = DifferenceMatrix(
    ["depth", "normals"],
    ["edges", "random"],
    [
        [Difference(2.0, 1.0, 3.0), Difference(-1.0, -2.5, 0.5)],
        [None, Difference(0.0, 0.0, 0.0)],
    ],
    "Differences in per cent",
    "student, teacher",
    "A note.",
)


def cells():
    return [c for c in ET.fromstring(MATRIX.html()).iter("td") if c.text != "student, teacher"]


def test_each_cell_has_its_number_and_its_interval():
    texts = ["".join(cell.itertext()) for cell in cells()]
    assert texts == ["2.0[1.0, 3.0]", "−1.0[−2.5, 0.5]", "·", "0.0[0.0, 0.0]"]


def test_better_and_worse_have_colours_as_deep_as_they_are_large():
    styles = [cell.get("style") for cell in cells()]
    assert styles[2] is None
    shades = [re.fullmatch(r"background:rgba\((.*),(.*)\)", s).groups() for s in styles if s]
    assert [color for color, _ in shades] == ["0,114,178", "196,78,0", "196,78,0"]
    assert [float(depth) for _, depth in shades] == [0.45, 0.225, 0.0]


def test_what_is_certain_is_bold():
    assert [cell.find("strong") is not None for cell in cells()] == [True, False, False, False]


def test_as_a_table():
    table = MATRIX.table()
    assert table.texts() == [
        ["depth", "**2.0 [1.0, 3.0]**", "−1.0 [−2.5, 0.5]"],
        ["normals", "·", "0.0 [0.0, 0.0]"],
    ]
    assert table.columns == ["student, teacher", "edges", "random"]
    assert (table.caption, table.note) == ("Differences in per cent", "A note.")


def test_all_zero_is_drawn():
    one = DifferenceMatrix(["a"], ["b"], [[Difference(0.0, -1.0, 1.0)]])
    assert "0.000" in one.html()


def test_another_shape():
    with pytest.raises(ConfigError, match=r"rows of \[1\] entries for 1 rows and 2 columns"):
        DifferenceMatrix(["a"], ["b", "c"], [[None]])


def test_a_scale_can_be_shared():
    assert MATRIX.largest() == 2.0
    shared = replace(MATRIX, deepest=4.0).html()
    assert "rgba(0,114,178,0.225)" in shared
    assert "rgba(0,114,178,0.450)" in replace(MATRIX, deepest=1.0).html()
