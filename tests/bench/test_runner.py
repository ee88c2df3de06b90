import os
import subprocess
import sys
import time
from pathlib import Path

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


def test_processes_end_when_what_has_started_them_is_killed(tmp_path):
    program = subprocess.Popen(
        [sys.executable, Path(__file__).parents[1] / "programs" / "abandoned.py", tmp_path]
    )
    told = tmp_path / "pid"
    _wait(told.exists)
    program.kill()
    program.wait()
    worker = int(told.read_text())
    _wait(lambda: not _is_running(worker))


def _wait(until):
    for _ in range(1200):
        if until():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to it in two minutes")


def _is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # one that no one has waited for is still listed
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


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
