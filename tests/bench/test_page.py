import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import browser
import pytest
from cells import GRID, measure, ran

from anyteacher.bench.grids import grid_named
from anyteacher.bench.page import make_sections, write_pages
from anyteacher.bench.plan import Plan
from anyteacher.bench.record import gather, read_records
from anyteacher.bench.tables import tried

# The records of a grid, and the page that `anyteacher bench report` has made of them.
PUBLISHED = Path(__file__).parents[2] / "docs" / "evidence"


@pytest.fixture(scope="module")
def records():
    return ran(GRID, measure)


def test_the_sections(records):
    sections = {section.title: section for section in make_sections(Plan(GRID, records))}
    inverted, traditional = sections["Which task teaches which, with 16 images"].blocks
    assert (inverted.rows, inverted.columns) == (
        ["depth", "segmentation"],
        ["depth", "segmentation", "random"],
    )
    assert inverted.values[0][1].value == pytest.approx(20, abs=0.5)
    assert inverted.values[1][0].value == pytest.approx(-20, abs=0.5)
    assert abs(traditional.values[0][1].value) < 1
    (teachers,) = sections["The teachers"].blocks
    assert [row[:5] for row in teachers.rows] == [
        ["depth", "tiny", 16, 4, "abs_rel"],
        ["segmentation", "tiny", 16, 4, "miou"],
    ]
    (alone,) = sections["The students alone"].blocks
    depth = next(row for row in alone.rows if row[0] == "depth")
    assert depth[:4] == ["depth", 16, "tiny", "abs_rel, min"]
    assert depth[4:] == [pytest.approx(0.5005), pytest.approx(0.0021, abs=1e-4), 5, 0]
    assert sections["What was chosen"].text.endswith(f"Tried were {tried(Plan(GRID, records))}.")
    (choices,) = sections["What was chosen"].blocks
    assert len(choices.rows) == len(GRID.arms())
    (machines,) = sections["What it was run on"].blocks
    assert machines.rows == [["CPU", "none", "2.0", "0", "abc", len(records)]]


def test_a_teacher_that_no_claim_has_is_in_no_matrix():
    claims = tuple(claim for claim in GRID.claims if claim.name == "C1")
    grid = replace(GRID, claims=claims)
    sections = {s.title: s for s in make_sections(Plan(grid, ran(grid, measure)))}
    inverted, _ = sections["Which task teaches which, with 16 images"].blocks
    assert inverted.columns == ["depth", "segmentation"]


def test_the_same_records_give_the_same_files(records, tmp_path):
    page, text = write_pages(Plan(GRID, records), tmp_path)
    assert (page.name, text.name) == ("tiny-page.html", "tiny.md")
    gather(records.values(), tmp_path / "tiny.jsonl")
    again = write_pages(Plan(GRID, read_records(tmp_path / "tiny.jsonl")), tmp_path / "again")
    assert [path.read_bytes() for path in again] == [page.read_bytes(), text.read_bytes()]
    ET.fromstring(page.read_text(encoding="utf-8").removeprefix("<!DOCTYPE html>"))
    assert "| C1 | not supported | 1 / 1 / 0 |" in text.read_text(encoding="utf-8")
    if browser.BROWSER is not None:
        assert browser.complaints(page, tmp_path) == []
        assert browser.not_drawn(browser.seen(page, tmp_path, width=500)) == []


def test_what_diverged_is_told_wherever_it_is(records):
    """A student alone and a taught one each lose a seed, and a teacher is lost altogether."""
    plan = Plan(GRID, records)
    alone = GRID.arm(GRID.scales[0], "segmentation")
    taught = GRID.arm(GRID.scales[0], "depth", "depth", "inverted", "inverted")
    lost = {plan.comparison(alone)[1].key, plan.comparison(taught)[1].key}
    lost.add(plan.teachers["segmentation", "tiny"].key)
    changed = {
        key: replace(r, status="diverged", val={}, test={}) if key in lost else r
        for key, r in records.items()
    }
    sections = {section.title: section for section in make_sections(Plan(GRID, changed))}
    (students,) = sections["The students alone"].blocks
    counts = {row[0]: row[6:] for row in students.rows}
    assert counts == {"depth": [5, 0], "segmentation": [4, 1], "digits": [5, 0]}
    inverted, _ = sections["Which task teaches which, with 16 images"].blocks
    assert inverted.values[0][0] is None  # not the mean of the seeds that are left
    assert inverted.values[1] == [None] * 3  # nothing to compare with
    (left,) = sections["What cannot be compared"].blocks
    assert {row[0] for row in left.rows} == {"depth", "segmentation"}
    assert all("from segmentation" in row[2] for row in left.rows)


def test_a_page_of_nothing_is_written_too(tmp_path):
    page, text = write_pages(Plan(GRID, {}), tmp_path)
    assert f"0 of {Plan(GRID, {}).count} runs" in text.read_text(encoding="utf-8")
    assert "Which task teaches which" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.jsonl.gz")), ids=lambda path: path.name)
def test_published_pages_are_those_of_their_records(path, tmp_path):
    records = read_records(path)
    plan = Plan(grid_named(path.name.removesuffix(".jsonl.gz")), records)
    # All of today's grid and nothing else: no run is missing, and none is of other settings.
    assert plan.ready() == []
    assert {cell.key for cell in plan.possible()} == records.keys()
    for made in write_pages(plan, tmp_path):
        assert (PUBLISHED / made.name).read_bytes() == made.read_bytes()
