import os
import time

import pytest
from cells import ALONE, TAUGHT

from anyteacher.bench.record import read_records
from anyteacher.bench.runner import Crew, is_mine, parse_shard
from anyteacher.errors import ConfigError


def answer(command, rest):
    """In place of a command: writes nothing, so that the run fails with a sentence of its own."""
    raise ValueError(f"{command} in {os.getpid()}")


def die(command, rest):
    """In place of a command: ends the process at once, as where memory runs out, for one run."""
    if any("cell.json" in part for part in rest) and "die" in os.environ:
        os._exit(9)
    raise ValueError("lived")


def test_every_run_is_made_once_in_so_many_processes(cell, tmp_path):
    cells = [cell(seed=seed) for seed in range(4)]
    with Crew(tmp_path / "new", 2, answer) as crew:
        records = list(crew.run(cells[:3]))
        records += crew.run(cells[3:])
    assert {record.key for record in records} == {cell.key for cell in cells}
    assert {record.status for record in records} == {"failed"}
    assert 1 <= len({record.error for record in records}) <= 2
    assert read_records(tmp_path / "new").keys() == {cell.key for cell in cells}
    assert str(os.getpid()) not in records[0].error


def test_a_process_that_dies_takes_its_run_alone(cell, tmp_path, monkeypatch):
    monkeypatch.setenv("die", "1")
    with Crew(tmp_path, 1, die) as crew:
        records = list(crew.run([cell(), cell(TAUGHT)]))
    assert [record.error for record in records] == [
        "The process has died; where memory ran out, fewer jobs help."
    ] * 2
    assert read_records(tmp_path).keys() == {cell().key, cell(TAUGHT).key}


def test_runs_that_wait_are_left_when_it_stops(cell, tmp_path):
    with Crew(tmp_path, 1, answer) as crew:
        records = crew.run([cell(seed=seed) for seed in range(50)])
        next(records)
        start = time.monotonic()
        records.close()
    assert len(read_records(tmp_path)) < 50
    assert time.monotonic() - start < 20


def test_shares_are_disjoint_and_complete(cell):
    cells = [cell(ALONE, seed=seed) for seed in range(40)]
    shares = [[one.key for one in cells if is_mine(one, (i, 3))] for i in range(3)]
    assert sorted(key for share in shares for key in share) == sorted(c.key for c in cells)
    assert min(map(len, shares)) > 3
    assert parse_shard("2/3") == (2, 3)


@pytest.mark.parametrize("text", ["", "3", "3/3", "-1/3", "a/b", "1/0"])
def test_no_share(text):
    with pytest.raises(ConfigError, match=r"is no share of the runs\. Write i/n"):
        parse_shard(text)
