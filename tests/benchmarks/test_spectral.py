"""What is timed computes what it says, and the tables are whole. Never how fast anything is."""

import re

import pytest
import torch
from benchmarks.memory import peak_bytes
from benchmarks.spectral import Ways
from benchmarks.timing import Settings
from benchmarks.workloads import encoder_decoders

from benchmarks import spectral


@pytest.fixture
def settings():
    return Settings(seconds=0.0, least_rounds=2)


def test_all_ways_have_one_gradient():
    ways = Ways(200, 12, 3)
    exact = ways.exact()
    torch.testing.assert_close(ways.svdvals(), exact, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(ways.followed(), exact, rtol=1e-3, atol=1e-7)
    assert ways.floor().shape == exact.shape


def test_memory_is_of_order_d2():
    ways = Ways(20_000, 16, 4)
    assert peak_bytes(ways.exact) - 4 * ways.z.numel() < 4 * (
        2048 * 16 + 10 * 16**2
    )  # some rows at a time
    assert peak_bytes(ways.svdvals) - 4 * ways.z.numel() > 4 * ways.z.numel()


def test_the_tables_are_whole(settings):
    tables = [
        spectral.against_svdvals(100, [(4, 1), (8, 6)], settings),
        spectral.against_size([20, 30], [4], settings),
        spectral.share_of_step(10, 128, settings),  # enough rows for the rank
        spectral.cost_of_observing([encoder_decoders(2, 16, 8)], settings),
    ]
    assert [len(table.rows) for table in tables] == [2, 2, 6, 1]
    for table in tables:
        for row in table.rows:
            assert len(row) == len(table.columns)
            for cell in row:
                match = re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", str(cell))
                if match:
                    median, low, high = map(float, match.groups())
                    assert 0 < low <= median <= high


def test_the_command_prints_what_is_asked_for(monkeypatch, capsys):
    monkeypatch.setattr(spectral, "ROWS", 50)
    monkeypatch.setattr(spectral, "SIZES", ((4, 1),))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    spectral.main(["svdvals", "--quick", "--seconds", "0.01"])
    printed = capsys.readouterr().out
    assert "svdvals / exact" in printed
    assert "share of the step" not in printed
