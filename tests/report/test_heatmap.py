"""Heat maps: the colour of every value, and the places of what is beside them."""

import base64
import io
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from PIL import Image

from anyteacher import pictures
from anyteacher.errors import ConfigError
from anyteacher.report import HeatMap, Panel


def heat(*panels, **options):
    return HeatMap("title", "step", "direction", "value", panels, **options)


def panel(values, x=None, label="a"):
    values = torch.as_tensor(values)
    return Panel(label, range(values.shape[1]) if x is None else x, values)


def pixels(svg):
    (image,) = [e for e in ET.fromstring(svg).iter() if e.tag.endswith("image")]
    data = base64.b64decode(image.get("href").removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), image


def color(share):
    return pictures.scale_table("error")[round(share * 255)].tolist()


def test_equal_ratios_are_equal_steps_of_the_scale():
    drawn, _ = pixels(
        heat(panel([[8.0, 4.0], [2.0, 1.0]])).svg(panel([[8.0, 4.0], [2.0, 1.0]]), 380)
    )
    assert drawn.shape == (2, 2, 3)
    expected = [[color(1), color(2 / 3)], [color(1 / 3), color(0)]]
    assert np.abs(drawn.astype(int) - np.array(expected)).max() <= 3  # a step of the scale


def test_larger_values_are_lighter_in_grey():
    values = torch.logspace(0, -3, 30)[:, None]
    drawn, _ = pixels(heat(panel(values)).svg(panel(values), 380))
    grey = np.asarray(Image.fromarray(drawn).convert("L")).astype(int)[:, 0]
    assert (np.diff(grey) < 0).all()


def test_what_is_zero_or_tiny_has_the_last_colour_and_the_scale_says_so():
    one = panel([[1.0], [1e-3], [1e-9], [0.0]])
    drawn, _ = pixels(heat(one).svg(one, 380))
    assert drawn[2, 0].tolist() == drawn[3, 0].tolist() == color(0)
    assert "<span>0.0001 or less</span>" in heat(one).html()
    assert "<span>0.25</span>" in heat(panel([[1.0], [0.25]])).html()


def test_a_row_that_is_missing_looks_like_the_nearest_and_is_not_listed():
    one = Panel("a", [0], torch.tensor([[1.0], [0.5], [0.1]]), rows=(1, 2, 8))
    drawn, _ = pixels(heat(one).svg(one, 380))
    reds = drawn[:, 0, 0].tolist()
    assert len(reds) == 8
    assert len(set(reds[1:5])) == len(set(reds[5:])) == 1
    assert reds[0] > reds[1] > reds[5]
    tree = ET.fromstring(heat(one).html())
    assert [cell.text for cell in tree.iter("th") if cell.get("scope") == "row"] == ["1", "2", "8"]


def test_what_is_not_a_number_is_grey():
    one = panel([[1.0, math.nan], [0.5, math.inf]])
    drawn, _ = pixels(heat(one).svg(one, 380))
    assert drawn[:, 1].tolist() == [[128] * 3] * 2


def test_a_column_stands_until_the_next_place():
    one = panel([[1.0, 0.1, 1.0]], x=[0, 10, 40])
    drawn, _ = pixels(heat(one).svg(one, 380))
    assert one.end == 70
    light = drawn[0, :, 0] > 128
    assert len(light) == 200
    changes = (np.flatnonzero(np.diff(light.astype(int))) + 1) / 200 * 70
    assert changes == pytest.approx([10, 40], abs=0.36)


def test_many_columns_are_few_pixels():
    one = panel(torch.linspace(1, 0.1, 5000)[None])
    assert pixels(heat(one).svg(one, 760))[0].shape == (1, 200, 3)


def test_the_picture_lies_between_the_ends_of_its_axes():
    one = panel(torch.rand(16, 5) + 0.1, x=[0, 100, 200, 300, 400])
    svg = heat(one).svg(one, 760)
    _, image = pixels(svg)
    left, top, width, height = (float(image.get(k)) for k in ("x", "y", "width", "height"))
    tree = ET.fromstring(svg)
    at = {t.text: (float(t.get("x")), float(t.get("y"))) for t in tree.iter() if t.tag == "text"}
    assert at["0"][0] == pytest.approx(left, abs=0.1)
    assert at["400"][0] == pytest.approx(left + 0.8 * width, abs=0.1)
    assert at["1"][1] - 4 == pytest.approx(top + height / 32, abs=0.1)
    assert {"step", "direction"} <= set(at)


def test_panels_share_one_scale_and_stand_beside_each_other():
    page = heat(panel([[4.0], [2.0]], label="seed 0"), panel([[2.0], [1.0]], label="seed 1")).html()
    tree = ET.fromstring(page)
    drawn = [e for e in tree.iter() if e.tag == "svg" and "chart" in e.get("class")]
    assert len(drawn) == 2
    first, second = (pixels(ET.tostring(svg, encoding="unicode"))[0] for svg in drawn)
    assert first[1, 0].tolist() == second[0, 0].tolist()
    assert [p.text for p in tree.iter("p")] == ["seed 0", "seed 1"]
    assert len(re.findall(r'class="scale"', page)) == 1


def test_the_ends_are_listed_and_spoken():
    page = heat(panel([[4.0, 3.0], [2.0, 1.0]], x=[5, 9])).html()
    cells = [cell.text for cell in ET.fromstring(page).iter("td")]
    assert cells == ["4", "3", "2", "1"]
    assert "The first ends at 3, the last at 1." in page


def test_hostile_text_is_shown_as_text():
    bad = "</text></svg><script>1</script>\"'\x00"
    page = HeatMap(bad, bad, bad, bad, [panel([[1.0]], label=bad)], note=bad).html()
    assert not list(ET.fromstring(page).iter("script"))


def test_errors_of_heat_maps():
    with pytest.raises(ConfigError, match=r"panel 'a' has 2 places and values of shape \(1, 1\)"):
        Panel("a", [1, 2], torch.ones(1, 1))
    with pytest.raises(ConfigError, match="panel 'a' has 0 places"):
        Panel("a", [], torch.ones(1, 0))
    with pytest.raises(ConfigError, match="'a' do not rise"):
        Panel("a", [2, 2], torch.ones(1, 2))
    with pytest.raises(ConfigError, match="'a' numbers 1 of 2 rows"):
        Panel("a", [1], torch.ones(2, 1), rows=[4])
    with pytest.raises(ConfigError, match="numbers of the panel 'a' do not rise"):
        Panel("a", [1], torch.ones(2, 1), rows=[4, 1])
    for values in ([[0.0]], [[math.nan]], [[-1.0]]):
        with pytest.raises(ConfigError, match="no positive value in 1 panels"):
            heat(panel(values))
    with pytest.raises(ConfigError, match="no positive value in 0 panels"):
        heat()
