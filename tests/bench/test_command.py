import re
from dataclasses import replace

import pytest
from cells import GRID, pretended, ran

from anyteacher import cli
from anyteacher.bench import grids
from anyteacher.bench.command import named
from anyteacher.bench.grid import Scale
from anyteacher.bench.plan import Plan
from anyteacher.bench.problems import Budget
from anyteacher.bench.record import gather, read_records, write_record

SHORT = Budget(steps=2, batch=8, pixels=16, val=8, test=8, looks=1)
# A teacher, the student alone, and two directions, over two seeds.
SMALL = replace(
    GRID,
    name="small",
    tasks=("segmentation",),
    teachers=("depth",),
    methods=("inverted",),
    claims=tuple(claim for claim in GRID.claims if claim.name == "C1"),
    scales=(Scale(16, SHORT, 20, SHORT),),
    teacher_budget=SHORT,
    seeds=2,
    selection_seeds=1,
    lrs=(0.001,),
    weights=(1.0,),
    forms=("own",),
)


@pytest.fixture
def call(capsys, monkeypatch):
    """Runs the command with grids of the tests; gives its status, and what it printed."""
    monkeypatch.setitem(grids.GRIDS, "small", SMALL)
    monkeypatch.setitem(grids.GRIDS, "tiny", GRID)

    def run(*arguments):
        capsys.readouterr()
        status = cli.main(["bench", *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The records of a whole grid, as if it had been run."""
    place = tmp_path_factory.mktemp("records")
    for record in ran(GRID).values():
        write_record(place, record)
    return place


def test_a_share_of_a_grid_is_run_and_then_what_is_left(call, tmp_path):
    count = Plan(SMALL, {}).count
    assert count == 1 + 3 + 6
    run = ["run", "--grid", "small", "--output", tmp_path, "--jobs", 1]
    status, out, _ = call(*run, "--shard", "0/2")
    assert status == 3
    assert re.search(r"\d+ runs of the grid are left. Those of this shard wait for others", out)
    assert len(read_records(tmp_path)) < count
    assert call(*run)[0] == 0
    records = read_records(tmp_path)
    assert len(records) == count
    assert {record.status for record in records.values()} == {"done"}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "records").iterdir()}
    status, out, _ = call(*run)
    assert status == 0
    assert f" {count}/{count} runs" in out
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "records").iterdir()} == before
    status, out, _ = call("claims", tmp_path, "--grid", "small")
    assert status == 0
    assert re.search(r"C1 +undecided +0 / 0 / 1", out)  # two seeds decide nothing


def test_a_run_that_fails_is_named_and_the_others_go_on(call, tmp_path):
    teacher = next(iter(Plan(SMALL, {}).teachers.values()))
    blocked = tmp_path / teacher.folder
    blocked.parent.mkdir()
    blocked.write_text("no folder")
    status, out, _ = call("run", "--grid", "small", "--output", tmp_path, "--jobs", 1)
    assert status == 1
    assert f"failed: teacher, depth, alone, seed 1000 (runs/{teacher.key}): " in out
    assert "1 runs failed. The same command tries them again." in out
    statuses = [record.status for record in read_records(tmp_path).values()]
    assert sorted(statuses) == ["done"] * 3 + ["failed"]


def test_a_share_does_not_wait_for_a_run_that_failed_elsewhere(call, tmp_path):
    records = list(ran(SMALL).values())
    broken = next(r for r in records if r.cell["stage"] == "teacher")
    for record in records:
        if record.cell["stage"] != "comparison":
            write_record(tmp_path, record)
    write_record(tmp_path, replace(broken, status="failed", val={}, test={}, error="no disk"))
    others = 1 - int(broken.key, 16) % 2
    run = ["run", "--grid", "small", "--output", tmp_path, "--jobs", 1, "--shard", f"{others}/2"]
    status, out, _ = call(*run)
    assert status == 1
    assert f"1 runs of other shards failed (runs/{broken.key})" in out
    assert "Start those shards again" in out


def test_arms_that_cannot_be_compared_are_named(call, tmp_path):
    def measure(cell):
        return pretended(cell, "diverged" if cell.stage == "teacher" else "done")

    for record in ran(SMALL, measure).values():
        write_record(tmp_path, record)
    status, out, _ = call("run", "--grid", "small", "--output", tmp_path, "--jobs", 1)
    assert status == 0
    told = "not compared: segmentation, inverted from depth, inverted: its teacher or all of its"
    assert told in out
    assert out.count("not compared") == 2


def test_records_are_gathered_read_and_reported(call, folder, tmp_path):
    lines = tmp_path / "tiny.jsonl"
    status, out, _ = call("gather", folder, "--output", lines)
    count = Plan(GRID, {}).count
    assert (status, out) == (0, f"{count} records are in {lines}.\n")
    from_folder, from_lines = (call("claims", place, "--grid", "tiny") for place in (folder, lines))
    assert from_folder == from_lines
    assert "Verdicts" in from_lines[1]
    assert f"{count} of {count} runs of the grid tiny are made." in from_lines[1]
    status, out, _ = call("report", lines, "--grid", "tiny", "--output", tmp_path)
    assert status == 0
    assert (tmp_path / "tiny-page.html").exists()
    assert (tmp_path / "tiny.md").exists()


def test_the_records_of_one_grid_are_gathered_from_a_folder_of_several(call, folder, tmp_path):
    ours = ran(SMALL)
    for record in [*ours.values(), *read_records(folder).values()]:
        write_record(tmp_path, record)
    lines = tmp_path / "small.jsonl"
    status, out, _ = call("gather", tmp_path, "--grid", "small", "--output", lines)
    assert (status, out) == (0, f"{len(ours)} records are in {lines}.\n")
    assert read_records(lines).keys() == ours.keys()


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("run", "The runs go to a folder, and '.*' is a file"),
        ("report", "The pages go to a folder, and '.*' is a file"),
        ("gather", "The records go to a file, and '.*' is a folder.*such as .*records.jsonl"),
    ],
)
def test_what_is_written_goes_to_a_place_of_the_right_kind(call, folder, tmp_path, action, message):
    place = tmp_path if action == "gather" else tmp_path / "file"
    if action != "gather":
        place.write_text("")
    given = [] if action == "run" else [folder]
    status, _, err = call(action, *given, "--grid", "tiny", "--output", place)
    assert status == 2
    assert re.search(message, err)


@pytest.mark.parametrize("action", ["claims", "report", "gather"])
def test_records_of_another_grid_are_not_taken_for_missing_ones(call, folder, action):
    status, _, err = call(action, folder, "--grid", "small")
    assert status == 2
    assert re.search(
        r"None of the \d+ records at .* is of the grid 'small'\. They are of tiny", err
    )


def test_a_grid_that_is_whole_beside_one_that_is_not_is_named(call, folder, tmp_path):
    """Records of one grid hold some of another's: what was meant may be the first."""
    records = read_records(folder)
    gather(records.values(), tmp_path / "tiny.jsonl")
    more = replace(GRID, name="more", seeds=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(grids.GRIDS, "more", more)
        _, out, _ = call("claims", tmp_path / "tiny.jsonl", "--grid", "more")
        assert "The grid 'more' is not complete here, and tiny is: --grid says which." in out
        _, out, _ = call("claims", tmp_path / "tiny.jsonl", "--grid", "tiny")
        assert "not complete" not in out


def test_power(call):
    status, out, _ = call("power", "--family", "2")
    assert status == 0
    assert re.search(r"2 +0\.\d+ +(1\.000|0\.9\d+) +1\.000", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--grid", "smal"], r"no grid 'smal'\. Did you mean small"),
        (["run", "--jobs", "-1"], r"--jobs counts runs at once"),
        (["run", "--shard", "2/2"], r"'2/2' is no share of the runs"),
        (["run", "--jbs", "2"], r"no setting 'jbs'\. Did you mean jobs"),
        (["power", "--family", "0"], r"one comparison or more, got 0"),
        (["claims", "none"], r"no records at 'none'"),
        (["rn"], r"invalid choice: 'rn'"),
        ([], r"one of \{run,claims,report,gather,power\}"),
    ],
)
def test_wrong_arguments(call, arguments, message):
    status, _, err = call(*arguments)
    assert status == 2
    assert re.search(message, err)


def test_a_run_in_words(cell):
    assert named(pretended(cell())) == "comparison, depth, alone, seed 0"
