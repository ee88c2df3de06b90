"""The tables are whole. Never how fast anything is."""

import json
import re

import pytest
import torch
from benchmarks.links import Shape
from benchmarks.timing import Settings
from benchmarks.workloads import encoder_decoders

from benchmarks import cost


@pytest.fixture
def settings():
    return Settings(seconds=0.0, least_rounds=2)


def _tiny():
    return encoder_decoders(batch=2, size=16, width=4)


def _ratios(cell):
    return [float(number) for number in re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", cell).groups()]


def _check_ratio(cell):
    median, low, high = _ratios(cell)
    assert 0 < low <= median <= high < float("inf")


def test_whole_steps_fill_their_table(settings):
    table = cost.whole_steps([_tiny()], settings)
    (row,) = table.rows
    cells = dict(zip(table.columns, row, strict=True))
    for column in ("inverted / floor", "traditional / floor", "by hand / floor", "floor / floor"):
        _check_ratio(cells[column])
    assert cells["floor ms"] > 0
    assert cells["rounds"] == settings.least_rounds
    assert "4 from 6" in cells["pair"]


def test_links_alone_fill_their_table(settings):
    shapes = [Shape("map", 2, 4, 3), Shape("vector", 4, 4)]
    table = cost.links_alone(shapes, settings)
    assert [row[0] for row in table.rows] == [str(shape) for shape in shapes]
    for row in table.rows:
        cells = dict(zip(table.columns, row, strict=True))
        _check_ratio(cells["inverted / traditional"])
        assert 0 < cells["inverted kept MiB"] < cells["traditional kept MiB"]


def test_the_library_fills_its_table(settings):
    table = cost.library_overhead([_tiny()], settings)
    (row,) = table.rows
    _check_ratio(row[table.columns.index("library / by hand")])


def test_the_command_measures_the_parts_asked_for(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(cost, "SHAPES", (Shape("vector", 4, 4),))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    path = tmp_path / "out" / "cost.json"
    cost.main(["link", "--quick", "--seconds", "0.01", "--seed", "3", "--output", str(path)])
    printed = capsys.readouterr().out
    assert "inverted / traditional" in printed
    assert torch.__version__ in printed
    written = json.loads(path.read_text())
    assert written["facts"]["seed"] == "3"
    assert written["settings"]["clock"] == "processor"
    assert [row[0] for row in written["tables"][0]["rows"]] == ["vector 4 from 16, batch 4"]
