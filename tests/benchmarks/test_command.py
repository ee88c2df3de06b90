"""What a benchmark does as a command."""

import json

import pytest
import torch
from benchmarks.command import run

from anyteacher.report import Table


@pytest.fixture
def calls(monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    return []


def recorder(calls):
    def measure(settings, parts):
        calls.append((settings, parts))
        return [
            Table(columns=["part", "drawn"], rows=[[part, torch.rand(()).item()] for part in parts])
        ]

    return measure


def test_all_parts_are_measured_unless_some_are_named(calls):
    run([], "Title.", ["a", "b"], recorder(calls))
    run(["b"], "Title.", ["a", "b"], recorder(calls))
    assert [parts for _, parts in calls] == [["a", "b"], ["b"]]


def test_the_options_become_settings(calls):
    run(["--quick", "--device", "cuda:1", "--seed", "4"], "Title.", ["a"], recorder(calls))
    run(["--seconds", "3", "--clock", "wall"], "Title.", ["a"], recorder(calls))
    run([], "Title.", ["a"], recorder(calls))
    settings = [made for made, _ in calls]
    assert [(s.seconds, s.clock) for s in settings] == [(1, "wall"), (3, "wall"), (10, "processor")]
    assert (settings[0].device, settings[0].seed) == ("cuda:1", 4)


def test_tables_and_facts_are_written_and_printed(calls, capsys, tmp_path):
    path = tmp_path / "out" / "tables.json"
    run(["--seed", "3", "--output", str(path)], "Title.", ["a"], recorder(calls))
    written = json.loads(path.read_text())
    assert written["facts"]["seed"] == "3"
    torch.manual_seed(3)
    assert written["tables"][0]["rows"] == [["a", torch.rand(()).item()]]
    printed = capsys.readouterr().out
    assert torch.__version__ in printed
    assert "drawn" in printed


def test_an_unknown_part_is_refused_with_a_hint(calls, capsys):
    with pytest.raises(SystemExit):
        run(["steps"], "Title.", ["step", "link"], recorder(calls))
    assert "unknown part steps. Did you mean step?" in capsys.readouterr().err
    assert not calls
