import re
import xml.etree.ElementTree as ET

import browser
import pytest
import torch

from anyteacher.report import (
    BarChart,
    Bars,
    Facts,
    HeatMap,
    Interval,
    IntervalChart,
    LineChart,
    Matrix,
    Page,
    Panel,
    Pictures,
    Scale,
    Section,
    Series,
    Table,
    machine_facts,
    png,
    write_page,
)


@pytest.fixture(scope="module")
def page():
    """Every kind of block, with more pictures of noise (which hardly compress) than a demo has."""
    noise = torch.randint(0, 256, (6, 8, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    pictures = Pictures(
        [f"picture {i}" for i in range(8)],
        [(f"scene {i}", [png(p.to(torch.uint8)) for p in row]) for i, row in enumerate(noise)],
        scales=[Scale("depth", "near", "far", torch.tensor([[0, 0, 0], [255, 255, 255]]))],
    )
    curves = [Series(name, range(100), [1 / (i + 1) for i in range(100)]) for name in "abcd"]
    blocks = [
        Table(
            ["student", "AbsRel"], [["alone", 0.2], ["inverted", 0.1]], "Depth", "Lower is better."
        ),
        IntervalChart("Difference", "AbsRel", [Interval("inverted", -0.1, -0.2, 0.0)], "min"),
        LineChart("Curves", "epoch", "AbsRel", curves, log_y=True),
        HeatMap("One", "step", "number", "value", [Panel("a", range(9), torch.rand(4, 9))]),
        HeatMap(
            "Two", "step", "number", "value", [Panel(n, range(9), torch.rand(4, 9)) for n in "ab"]
        ),
        BarChart("Bars", "number", "share", [Bars("a", [1, 2])], [True, False], "dropped"),
        Matrix(["a", "b"], ["c"], [[0.1], [1.0]], "CKA"),
    ]
    sections = [
        Section("Results", "What was\n\nfound.", blocks),
        Section("Pictures", "", [pictures]),
        Section("How <it> was run", "", [Facts(machine_facts())]),
    ]
    return Page("A & B", "Two `students`.", sections)


def test_the_page_is_well_formed_and_complete(page):
    html = page.html()
    assert html.startswith("<!DOCTYPE html>\n")
    tree = ET.fromstring(html.removeprefix("<!DOCTYPE html>"))
    assert tree.findtext("head/title") == "A & B"
    assert [h.text for h in tree.iter("h2")] == ["Results", "Pictures", "How <it> was run"]
    targets = {link.get("href").removeprefix("#") for link in tree.iter("a")}
    marks = [element.get("id") for element in tree.iter() if element.get("id")]
    assert targets == set(marks)
    assert len(marks) == 3
    assert len(list(tree.iter("img"))) == 48
    assert not list(tree.iter("script"))
    assert all(th.get("scope") for th in tree.iter("th"))
    assert all(image.get("alt") for image in tree.iter("img"))


def test_the_page_loads_nothing(page):
    html = page.html()
    assert not re.search(r"https?:|@import|url\(|\b(src|href)=\"(?!data:|#)", html)
    assert "default-src 'none'" in html
    assert len(html.encode()) < 3_000_000


def test_every_class_has_a_style(page):
    html = page.html()
    style = html[html.index("<style>") : html.index("</style>")]
    used = {name for names in re.findall(r'class="([^"]+)"', html) for name in names.split()}
    assert used
    assert {name for name in used if f".{name}" not in style} == set()


def test_writing_replaces_the_whole_file_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "new" / "report.html"
    write_page(Page("one", "", []), path)
    write_page(Page("two", "", []), path)
    assert "<title>two</title>" in path.read_text(encoding="utf-8")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="disk full"):
        write_page(Page("three", "", []), path)
    assert "<title>two</title>" in path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


@pytest.mark.skipif(browser.BROWSER is None, reason="no Chromium on PATH to open the page with")
@pytest.mark.parametrize("width", [1280, 500])
def test_a_browser_draws_the_page_without_complaint(page, tmp_path, width):
    path = tmp_path / "report.html"
    write_page(page, path)
    assert browser.complaints(path, tmp_path) == []
    found = browser.seen(path, tmp_path, width=width)
    kinds = [figure["kind"] for figure in found["seen"]]
    assert {kind: kinds.count(kind) for kind in kinds} == {"svg": 6, "table": 1, "img": 48}
    assert browser.not_drawn(found) == []
    assert found["wide"] <= 0


@pytest.mark.skipif(browser.BROWSER is None, reason="no Chromium on PATH to open the page with")
def test_a_browser_tells_what_is_not_drawn(tmp_path):
    broken = '<img alt="broken" src="data:image/png;base64,AAAA" /><svg class="chart"></svg>'
    path = tmp_path / "report.html"
    path.write_text(f"<html><head></head><body>{broken}</body></html>")
    found = browser.seen(path, tmp_path)
    assert [figure["kind"] for figure in browser.not_drawn(found)] == ["img", "svg"]


@pytest.mark.skipif(browser.BROWSER is None, reason="no Chromium on PATH to open the page with")
@pytest.mark.parametrize("arms", [9, 60])
def test_paper_clips_no_table(tmp_path, arms):
    """As print shows it: no box has more than is seen, or it reaches beyond without being cut."""
    columns = ["setting", *(f"arm-{i}" for i in range(arms))]
    words = Table(columns, [["`distillation.links`", *["TrailingEnergy"] * arms]], "Words")
    numbers = Table(columns, [["alone", *[0.123] * arms]], "Numbers")
    page = Page("T", "", [Section("Results", "", [words, numbers])]).html()
    assert "@media print" in page
    path = tmp_path / "page.html"
    path.write_text(page.replace("@media print", "@media screen"), encoding="utf-8")
    found = browser.seen(path, tmp_path, width=720)  # A4 between its margins
    assert (found["wide"] > 0) == (arms == 60)
    assert found["scrolls"] == ([] if arms == 9 else ["Words", "Numbers"])
