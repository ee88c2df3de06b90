import math
from dataclasses import replace

import pytest
from cells import GRID, measure, pretended, ran

from anyteacher.bench.evidence import outcomes
from anyteacher.bench.plan import Plan
from anyteacher.bench.tables import choices, comparisons_table, summary, tried


@pytest.fixture(scope="module")
def records():
    return ran(GRID, measure)


def test_a_line_a_claim(records):
    table = summary(outcomes(Plan(GRID, records)))
    c1 = next(row for row in table.rows if row[0] == "C1")
    # The error of depth is smaller, and the score of segmentation smaller, too.
    assert c1[1:5] == ["not supported", "1 / 1 / 0", ">\N{NO-BREAK SPACE}50%", "0.00 [0.00, 0.00]"]
    c4 = next(row for row in table.rows if row[0] == "C4")
    assert c4[3] == "all"
    assert len(table.rows) == len(outcomes(Plan(GRID, records)))


def test_a_line_a_comparison(records):
    c1 = next(o for o in outcomes(Plan(GRID, records)) if o.claim.name == "C1")
    table = comparisons_table(c1)
    rows = {row[0].partition(" ")[0]: row for row in table.rows}
    depth = rows["depth"]
    assert depth[0] == "depth from segmentation, 16"
    assert depth[1] == "19.98 [19.98, 19.98]"
    assert depth[2:5] == [5, "0.0", "supported"]
    # Neither arm is the student alone: what both bring it is beside.
    assert depth[5:] == ["19.98 [19.98, 19.98]", "0.00 [0.00, 0.00]"]
    assert rows["segmentation"][4] == "not supported"
    assert table.columns[5:] == ["brings, %", "baseline brings, %"]
    c3 = next(o for o in outcomes(Plan(GRID, records)) if o.claim.name == "C3")
    assert comparisons_table(c3).columns[4:] == ["better"]


def test_methods_are_named_where_there_are_several():
    claim = replace(GRID.claims[0], methods=("inverted", "fitnet"))
    grid = replace(GRID, claims=(claim,), methods=())
    (outcome,) = outcomes(Plan(grid, {}))
    assert comparisons_table(outcome).rows[0][0] == "segmentation from depth, inverted, 16"


def test_what_lacks_is_said():
    (c1, *_) = outcomes(Plan(GRID, {}))
    table = comparisons_table(c1)
    assert table.rows[0][1:] == ["·", 0, "·", "undecided", "·", "·"]
    assert "not made yet: 10." in table.note
    diverged = ran(GRID, lambda cell: pretended(cell, status_of(cell)))
    table = comparisons_table(outcomes(Plan(GRID, diverged))[0])
    assert "a run diverged: 2." in table.note


def status_of(cell):
    worst = cell.stage == "comparison" and cell.seed == 3 and cell.arm.direction == "inverted"
    return "diverged" if worst else "done"


def test_a_figure_that_no_run_has_is_no_divergence(records):
    memory = next(o for o in outcomes(Plan(GRID, records)) if o.claim.name == "C5 memory")
    note = comparisons_table(memory).note
    assert "have no such figure" in note
    assert "diverged" not in note
    assert "Only runs with the same settings are compared" in note


@pytest.mark.parametrize(("further", "mark"), [(0, " ↑"), (1, " ↑"), (2, "")])
def test_a_choice_at_an_end_is_marked(further, mark):
    """The best weight is ten, where 0.1 and 1 are tried, and 10 and 100 further."""

    def best_at_ten(cell):
        record = pretended(cell)
        far = abs(math.log10(cell.choice.weight) - 1) / 10
        value = far if record.mode == "min" else 1 - far
        return pretended(cell, val={record.monitor: value})

    grid = replace(GRID, further=further)
    table = choices(Plan(grid, ran(grid, best_at_ten)))
    alone, *_, taught = table.rows
    assert alone[2:6] == ["alone", "0.001 ↓", "0.05", "·"]  # of one decay there is no end
    assert taught[3:6] == ["0.001", "0.05", f"{10 if further else 1}{mark}"]
    ended = sum("↑" in row[5] for row in table.rows) + 3  # of the students alone
    assert f": {ended} of {len(table.rows)} arms." in table.note


def test_what_was_tried_in_words():
    grid = replace(GRID, image_forms=("pooled", "positions"))
    assert tried(Plan(grid, {})) == (
        "rates 0.001, 0.01; weight decays 0.05; weights 0.1, 1; taps deep; forms own, pooled; "
        "further forms, of tasks with one answer an image, positions"
    )
