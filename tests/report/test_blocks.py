import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from PIL import Image

from anyteacher.errors import ConfigError
from anyteacher.report import Facts, Pictures, Scale, Table, png

HOSTILE = "</td><script>alert('1')</script>\"' &amp; \x00\x1b[31m \ud800 `code`"


def parsed(block):
    return ET.fromstring(block.html())


def test_table_shows_every_cell_with_its_heading():
    table = Table(["student", "AbsRel", "note"], [["alone", 0.25, "a"], ["with", -0.00001, "b"]])
    tree = parsed(table)
    assert [(th.text, th.get("scope")) for th in tree.iter("th")] == [
        ("student", "col"),
        ("AbsRel", "col"),
        ("note", "col"),
        ("alone", "row"),
        ("with", "row"),
    ]
    assert [td.text for td in tree.iter("td")] == ["0.250", "a", "0.000", "b"]


def test_table_aligns_results_to_the_right_and_words_to_the_left():
    rows = [["a", 0.1, "-0.1 [-0.2, 0.0]", "", "yes"], ["b", 3, "", "–", "n/a"]]
    table = Table(["name", "number", "interval", "gaps", "words"], rows)
    assert table.numeric() == [False, True, True, True, False]
    assert Table(["a", "b"], []).numeric() == [True, True]


def test_sentences_have_more_room_than_words():
    page = Table(["name", "word", "sentence"], [["a", "yes", "so it is " * 9], ["b", "no", "so"]])
    cells = list(ET.fromstring(page.html()).iter("td"))
    assert [cell.get("class") for cell in cells] == ["words", "words sentences"] * 2


def test_table_shows_what_is_not_finite():
    assert Table(["a"], [[float("nan")], [float("-inf")]]).texts() == [["nan"], ["−inf"]]


@pytest.mark.parametrize(
    "block",
    [
        Table([HOSTILE, "b"], [[HOSTILE, HOSTILE]], caption=HOSTILE, note=HOSTILE),
        Facts({HOSTILE: HOSTILE}),
        Pictures(
            [HOSTILE],
            [(HOSTILE, [png(torch.zeros(3, 2, 2, dtype=torch.uint8))])],
            caption=HOSTILE,
            note=HOSTILE,
            scales=[Scale(HOSTILE, HOSTILE, HOSTILE, torch.zeros(2, 3, dtype=torch.uint8))],
        ),
    ],
    ids=lambda block: type(block).__name__,
)
def test_blocks_show_hostile_text_as_text(block):
    tree = parsed(block)
    assert not list(tree.iter("script"))
    assert {element.text for element in tree.iter("code")} == {"code"}
    whole = "".join(tree.itertext())
    assert "</td><script>alert('1')</script>\"' &amp; \ufffd\ufffd[31m \ufffd code" in whole


def test_facts_keep_their_order():
    tree = parsed(Facts({"machine": "x", "command": "anyteacher demo"}))
    assert [element.text for element in tree.iter("dt")] == ["machine", "command"]
    assert [element.text for element in tree.iter("dd")] == ["x", "anyteacher demo"]


def test_png_keeps_every_pixel():
    picture = torch.arange(3 * 5 * 7, dtype=torch.uint8).reshape(3, 5, 7)
    read = np.asarray(Image.open(io.BytesIO(png(picture))))
    assert np.array_equal(read, picture.permute(1, 2, 0).numpy())


def test_pictures_carry_their_data_size_and_names():
    data = [png(torch.full((3, 4, 6), value, dtype=torch.uint8)) for value in (0, 255)]
    tree = parsed(Pictures(["input", "depth"], [("scene 1", data)]))
    images = list(tree.iter("img"))
    assert [image.get("alt") for image in images] == ["scene 1: input", "scene 1: depth"]
    assert {(image.get("width"), image.get("height")) for image in images} == {("6", "4")}
    sources = [image.get("src").removeprefix("data:image/png;base64,") for image in images]
    assert [base64.b64decode(source) for source in sources] == data


def test_scale_runs_from_its_first_to_its_last_colour():
    colors = torch.tensor([[0, 0, 0]] * 100 + [[255, 128, 1]], dtype=torch.uint8)
    stops = re.findall("#[0-9a-f]{6}", Scale("depth (m)", "1", "9", colors).html())
    assert (stops[0], stops[-1], len(stops)) == ("#000000", "#ff8001", 16)


def test_errors_name_the_row():
    with pytest.raises(ConfigError, match="Row 1 of the table 'depth' has 1 cells for 2 columns"):
        Table(["a", "b"], [[1, 2], [3]], caption="depth")
    with pytest.raises(ConfigError, match="Row 'x' has 0 pictures for 1 columns"):
        Pictures(["a"], [("x", [])])
    with pytest.raises(ConfigError, match="Row 'x' holds data that is not a PNG"):
        Pictures(["a"], [("x", [b"\xff\xd8 a JPEG, say, of some length"])])
