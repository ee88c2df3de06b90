from dataclasses import replace

import pytest
from cells import GRID, pretended, ran

from anyteacher.bench.plan import Plan
from anyteacher.bench.tuning import tuning_section


def test_nothing_was_tried():
    assert tuning_section(Plan(GRID, {})) == []


def measure(cell):
    """Twice as good as alone with a weight of 1, and three times with pooled features on top."""
    record = pretended(cell)
    factor = 1.0
    if cell.arm.teacher != "none" and cell.choice.weight == 1.0:
        factor = 3.0 if cell.choice.form == "pooled" else 2.0
    value = 0.1 * factor if record.mode == "max" else 0.6 / factor
    return pretended(cell, val={record.monitor: value})


def test_a_line_a_setting_and_a_column_a_direction():
    (section,) = tuning_section(Plan(GRID, ran(GRID, measure)))
    (table,) = section.blocks
    ways = ("traditional", "inverted")
    kinds = [f"{kind} teacher, {way}" for kind in ("trained", "random") for way in ways]
    assert table.columns == ["× own weight", "tap", "form", *kinds]
    # Depth, an error, is less by a half, and by two thirds; segmentation, a score, is 2 and 3 times
    # as large. Digits have a random teacher alone.
    trained = {tuple(row[:3]): row[3] for row in table.rows}
    assert trained == {
        ("0.1", "deep", "own"): "0.0 (4)",
        ("1", "deep", "own"): "75.0 (4)",
        ("the arm's best", "deep", "pooled"): "133.3 (4)",
    }


def test_weights_beyond_the_ends_stand_in_their_order_with_how_many_arms_had_them():
    def best_at_a_hundred(cell):
        value = cell.choice.weight / 1000 + 0.1
        record = pretended(cell)
        return pretended(cell, val={record.monitor: value if record.mode == "max" else 1 - value})

    grid = replace(GRID, further=2)
    (section,) = tuning_section(Plan(grid, ran(grid, best_at_a_hundred)))
    rows = section.blocks[0].rows
    assert [row[0] for row in rows] == ["0.1", "1", "10", "100", "the arm's best"]
    assert all(str(cell).endswith("(4)") for cell in (row[3] for row in rows))


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_what_did_not_end_is_left_out(status):
    def spoilt(cell):
        bad = cell.choice.weight == 0.1 and cell.arm.teacher != "none"
        return pretended(cell, status) if bad else measure(cell)

    found = tuning_section(Plan(GRID, ran(GRID, spoilt)))
    rows = found[0].blocks[0].rows
    assert all(row[0] != "0.1" for row in rows)
    assert bool(rows)
