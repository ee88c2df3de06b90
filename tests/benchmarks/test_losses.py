"""The tables are whole. Never how fast anything is."""

import re

import pytest
import torch
from benchmarks.cases import CASES
from benchmarks.links import Shape
from benchmarks.timing import Ratio, Settings

from benchmarks import cases, losses


@pytest.fixture(autouse=True)
def small(monkeypatch):
    tiny = {
        "map": Shape("map", 4, 6, 5),
        "tokens": Shape("tokens", 4, 6, 17),
        "vector": Shape("vector", 4, 6),
        "logits": Shape("vector", 4, 10, times=1),
    }
    monkeypatch.setattr(losses, "SHAPES", tiny)
    monkeypatch.setattr(cases, "SAMPLES", 64)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)


@pytest.fixture
def settings():
    return Settings(seconds=0.0, least_rounds=2)


def row(name, features, settings):
    table = losses.table(features, {name: CASES[name]}, settings)
    (cells,) = table.rows
    return dict(zip(table.columns, cells, strict=True)), table.note


def is_ratio(cell):
    return re.fullmatch(r"\d+\.\d{3} \[\d+\.\d{3}, \d+\.\d{3}\]( ✗| \?)?", cell) is not None


def test_a_loss_of_all_directions_fills_its_row(settings):
    cells, note = row("AT", "map", settings)
    assert cells["loss"] == "AT"
    for way in ("inverted", "traditional", "none"):
        assert float(cells[f"{way} ms"]) > 0
    assert is_ratio(cells["inverted / traditional"])
    assert is_ratio(cells["ours / torchdistill"])
    assert cells["rounds"] == settings.least_rounds
    assert len(cells["kept MiB"].split(" | ")) == 3
    assert note == losses.NOTE


def test_a_direction_without_a_meaning_is_a_dash(settings):
    cells, note = row("KD", "logits", settings)
    assert cells["inverted ms"] == cells["inverted / traditional"] == "–"
    assert cells["peak MiB"].startswith("– | – | ")
    cells, note = row("NST", "tokens", settings)
    assert cells["ours / torchdistill"] == "–"  # it has none
    cells, note = row("SP", "map", settings)
    assert "SP: theirs divides" in note


def test_the_peak_is_no_less_than_what_the_gradients_need(settings):
    table = losses.table("map", {"MSE": CASES["MSE"]}, settings)
    alone = losses.LinkAlone(losses.SHAPES["map"], link=CASES["MSE"].link)
    gradients = sum(4 * x.numel() for x in alone.gradients("inverted")) / 2**20
    peak = table.rows[0][table.columns.index("peak MiB")].split(" | ")[0]
    assert float(peak) + 0.05 >= gradients


def test_without_torchdistill_a_note_says_so(settings, monkeypatch):
    monkeypatch.setattr(losses, "installed", lambda: False)
    cells, note = row("AT", "map", settings)
    assert cells["ours / torchdistill"] == "–"
    assert "torchdistill is not installed" in note
    assert "pip install -e '.[bench]'" in note


def test_a_miss_is_marked_and_tells_certain_from_uncertain():
    assert losses.judged(Ratio(0.9, 0.8, 1.1)) == "0.900 [0.800, 1.100]"
    assert losses.judged(Ratio(1.1, 0.9, 1.2)).endswith("] ?")
    assert losses.judged(Ratio(1.1, 1.05, 1.2)).endswith("] ✗")


def test_the_memory_of_the_gram_forms_is_far_below_the_naive(settings):
    table = losses.memory(Shape("map", 8, 16, 4), settings)
    cells = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert list(cells) == ["NST", "ICKD", "SP", "CC", "RKDAngle"]
    assert cells["SP"]["naive MiB"] == 4 * 8 * 8 * 16 * 16 / 2**20  # B B C HW
    assert cells["NST"]["naive MiB"] == 4 * 8 * 16 * 16 * 16 / 2**20  # B C C HW
    for named in cells.values():
        assert named["features MiB"] == 2 * 4 * 8 * 16 * 16 / 2**20
        assert 0 < named["peak MiB"] < named["naive MiB"]
        assert named["peak / features"] == named["peak MiB"] / named["features MiB"]


def test_the_command_restricts_itself_to_the_losses_named(capsys, monkeypatch):
    monkeypatch.setattr(losses, "memory", lambda shape, settings: pytest.fail("not asked for"))
    losses.main(["CRD", "MSE", "--seconds", "0.001"])
    printed = capsys.readouterr()
    assert "map 5 x 5 x 6 from 24" in printed.out
    assert "vector 6 from 24" in printed.out
    assert "vector 10 from 10" not in printed.out
    assert printed.err.split("\n")[:3] == ["map: MSE", "tokens: MSE", "vector: CRD"]
