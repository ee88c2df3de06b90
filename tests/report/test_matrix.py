import re
import xml.etree.ElementTree as ET

import pytest

from anyteacher import pictures
from anyteacher.errors import ConfigError
from anyteacher.report import Matrix


def luminance(color):
    """Relative luminance of sRGB (WCAG 2)."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_number_stands_in_its_place_on_its_shade():
    page = Matrix(["a", "b"], ["c", "d"], [[0.0, 0.25], [0.5, 1.0]], "CKA", "caption").html()
    tree = ET.fromstring(page)
    rows = [[cell.text for cell in row] for row in tree.find(".//tbody")]
    assert rows == [["a", "0.00", "0.25"], ["b", "0.50", "1.00"]]
    assert [th.text for th in tree.find(".//thead").iter("th")] == ["c", "d"]
    shades = re.findall(r"background:#(\w{6});", page)
    table = pictures.scale_table("error")
    assert shades == [bytes(table[i].tolist()).hex() for i in (0, 64, 128, 255)]


def test_every_number_can_be_read_on_its_shade():
    values = [i / 100 for i in range(101)]
    page = Matrix(["a"], [str(v) for v in values], [values], "CKA").html()
    for shade, ink in re.findall(r"background:#(\w{6});color:#(\w{3})\"", page):
        light = sorted([luminance(shade), 1.0 if ink == "fff" else 0.0])
        assert (light[1] + 0.05) / (light[0] + 0.05) > 4.5  # WCAG 2, level AA


def test_larger_numbers_are_lighter():
    values = [i / 20 for i in range(21)]
    page = Matrix(["a"], [str(v) for v in values], [values], "CKA").html()
    lights = [luminance(shade) for shade in re.findall(r"<td style=\"background:#(\w{6})", page)]
    assert lights == sorted(lights)


def test_hostile_text_is_shown_as_text():
    bad = "</td><script>1</script>\"'\x00"
    page = Matrix([bad], [bad], [[0.5]], bad, bad, bad, bad).html()
    assert not list(ET.fromstring(page).iter("script"))


def test_errors_of_matrices():
    with pytest.raises(ConfigError, match=r"rows of \[1\] numbers for 1 rows and 2 columns"):
        Matrix(["a"], ["b", "c"], [[0.5]], "CKA")
    with pytest.raises(ConfigError, match=r"rows of \[\] numbers for 0 rows"):
        Matrix([], ["b"], [], "CKA")
    for bad in (1.1, -0.1, float("nan")):
        with pytest.raises(ConfigError, match="not between 0 and 1"):
            Matrix(["a"], ["b"], [[bad]], "CKA")
