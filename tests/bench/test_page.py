import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import browser
import pytest
from cells import GRID, pretended, ran

from anyteacher.bench.evidence import outcomes
from anyteacher.bench.grids import grid_named
from anyteacher.bench.page import comparisons_table, make_sections, summary, write_pages
from anyteacher.bench.plan import Plan
from anyteacher.bench.record import gather, read_records

# The records of a grid, and the page that `anyteacher bench report` has made of them.
PUBLISHED = Path(__file__).parents[2] / "docs" / "evidence"
NOISE = (0.003, -0.002, 0.0005, 0.002, -0.001)
RANKS = {"spectra/a/projector_rank": [(3, 2.0)], "spectra/a/directions": [(3, 8.0)]}


def measure(cell):
    metric = pretended(cell).monitor
    value = 0.5 - 0.1 * (cell.arm.direction == "inverted") + NOISE[cell.seed % 5]
    test = {} if cell.stage == "selection" else {metric: value}
    return pretended(cell, test=test, curves=RANKS if cell.arm.method else {})


@pytest.fixture(scope="module")
def records():
    return ran(GRID, measure)


def test_a_line_a_claim(records):
    table = summary(outcomes(Plan(GRID, records)))
    c1 = next(row for row in table.rows if row[0] == "C1")
    # The error of depth is smaller, and the score of segmentation smaller, too.
    assert c1[1:5] == ["supported", "1 / 1 / 0", "50%", "0.00 [0.00, 0.00]"]
    assert len(table.rows) == len(outcomes(Plan(GRID, records)))


def test_a_line_a_comparison(records):
    c1 = next(o for o in outcomes(Plan(GRID, records)) if o.claim.name == "C1")
    rows = {row[0].partition(" ")[0]: row for row in comparisons_table(c1).rows}
    depth = rows["depth"]
    assert depth[0] == "depth from segmentation, 16"
    assert depth[1] == "19.98 [19.98, 19.98]"
    assert depth[2:] == [5, "supported"]
    assert rows["segmentation"][3] == "not supported"


def test_methods_are_named_where_there_are_several():
    claim = replace(GRID.claims[0], methods=("inverted", "fitnet"))
    grid = replace(GRID, claims=(claim,), methods=())
    (outcome,) = outcomes(Plan(grid, {}))
    assert comparisons_table(outcome).rows[0][0] == "segmentation from depth, inverted, 16"


def test_what_lacks_is_said():
    (c1, *_) = outcomes(Plan(GRID, {}))
    table = comparisons_table(c1)
    assert table.rows[0][1:] == ["·", 0, "undecided"]
    assert "not made yet: 10." in table.note
    diverged = ran(GRID, lambda cell: pretended(cell, status_of(cell)))
    table = comparisons_table(outcomes(Plan(GRID, diverged))[0])
    assert "a run diverged: 2." in table.note


def status_of(cell):
    worst = cell.stage == "comparison" and cell.seed == 3 and cell.arm.direction == "inverted"
    return "diverged" if worst else "done"


def test_the_sections(records):
    sections = {section.title: section for section in make_sections(Plan(GRID, records))}
    inverted, traditional = sections["Which task teaches which, with 16 images"].blocks
    assert (inverted.rows, inverted.columns) == (
        ["depth", "segmentation"],
        ("depth", "segmentation", "random"),
    )
    assert inverted.values[0][1].value == pytest.approx(20, abs=0.5)
    assert inverted.values[1][0].value == pytest.approx(-20, abs=0.5)
    assert abs(traditional.values[0][1].value) < 1
    (teachers,) = sections["The teachers"].blocks
    assert [row[:5] for row in teachers.rows] == [
        ["depth", "tiny", 16, 4, "abs_rel"],
        ["segmentation", "tiny", 16, 4, "miou"],
    ]
    (choices,) = sections["What was chosen"].blocks
    assert len(choices.rows) == len(GRID.arms())
    (machines,) = sections["What it was run on"].blocks
    assert machines.rows == [["CPU", "none", "2.0", "0", "abc", len(records)]]


def test_the_same_records_give_the_same_files(records, tmp_path):
    page, text = write_pages(Plan(GRID, records), tmp_path)
    assert (page.name, text.name) == ("tiny-page.html", "tiny.md")
    gather(records.values(), tmp_path / "tiny.jsonl")
    again = write_pages(Plan(GRID, read_records(tmp_path / "tiny.jsonl")), tmp_path / "again")
    assert [path.read_bytes() for path in again] == [page.read_bytes(), text.read_bytes()]
    ET.fromstring(page.read_text(encoding="utf-8").removeprefix("<!DOCTYPE html>"))
    assert "| C1 | supported | 1 / 1 / 0 |" in text.read_text(encoding="utf-8")
    if browser.BROWSER is not None:
        assert browser.complaints(page, tmp_path) == []
        assert browser.not_drawn(browser.seen(page, tmp_path, width=500)) == []


def test_a_page_of_nothing_is_written_too(tmp_path):
    page, text = write_pages(Plan(GRID, {}), tmp_path)
    assert f"0 of {Plan(GRID, {}).count} runs" in text.read_text(encoding="utf-8")
    assert "Which task teaches which" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.jsonl.gz")), ids=lambda path: path.name)
def test_published_pages_are_those_of_their_records(path, tmp_path):
    plan = Plan(grid_named(path.name.removesuffix(".jsonl.gz")), read_records(path))
    for made in write_pages(plan, tmp_path):
        assert (PUBLISHED / made.name).read_bytes() == made.read_bytes()
