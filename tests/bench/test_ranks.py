from dataclasses import replace

import pytest
from cells import ALONE, GRID, TAUGHT, measure, pretended, ran

from anyteacher.bench.plan import Plan
from anyteacher.bench.ranks import rank_shares, ranks_section

TWO = {
    "spectra/a/projector_rank": [(0, 6.0), (3, 2.0)],
    "spectra/a/directions": [(3, 8.0)],
    "spectra/b/projector_rank": [(0, 5.0), (3, 5.0)],
    "spectra/b/directions": [(3, 10.0)],
}


def test_ranks_are_shares_of_what_they_could_be(cell):
    record = pretended(cell(TAUGHT), curves=TWO)
    assert rank_shares(record) == [(0.75, 0.25), (0.5, 0.5)]
    assert rank_shares(replace(record, status="diverged")) == []
    assert rank_shares(pretended(cell(ALONE))) == []


def test_a_line_a_kind_of_teacher_and_direction():
    (section,) = ranks_section(Plan(GRID, ran(GRID, measure)))
    (table,) = section.blocks
    kinds = ["another task", "random", "the same task"]
    assert [row[:2] for row in table.rows] == [
        [kind, direction] for kind in kinds for direction in ("inverted", "traditional")
    ]
    assert all(row[3] == pytest.approx(0.25) for row in table.rows)
    others = table.rows[0]
    # Depth from segmentation and back, over five seeds each.
    assert others[4] == 10


def test_without_projectors_there_is_no_section():
    assert ranks_section(Plan(GRID, {})) == []
