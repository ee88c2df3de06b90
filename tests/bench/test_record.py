import gzip
import json
import math
from dataclasses import replace

import pytest

from anyteacher.bench.cell import key_of
from anyteacher.bench.record import (
    Record,
    compact,
    gather,
    known_records,
    read_records,
    write_record,
)
from anyteacher.errors import DataError

KEY = key_of({"seed": 0}, [])
RECORD = Record(
    KEY,
    "done",
    {"task": "depth", "links": []},
    {"seed": 0},
    monitor="abs_rel",
    mode="min",
    val={"abs_rel": 0.25, "rmse": math.nan},
    test={"abs_rel": 1 / 3},
    curves={"val/abs_rel": [(1, 0.5), (3, math.nan)]},
)


def same(one, other):
    return one.line() == other.line()


def test_a_record_comes_back_as_it_was(tmp_path):
    path = write_record(tmp_path, RECORD)
    assert path == tmp_path / "records" / f"{KEY}.json"
    assert path.read_text().count("\n") == 1
    found = read_records(tmp_path)
    assert list(found) == [KEY]
    assert same(found[KEY], RECORD)
    assert found[KEY].test["abs_rel"] == 1 / 3
    assert found[KEY].curves["val/abs_rel"][0] == (1, 0.5)
    assert math.isnan(found[KEY].val["rmse"])


def test_a_line_is_json_that_any_reader_takes():
    def refuse(name):
        raise AssertionError(name)

    content = json.loads(RECORD.line(), parse_constant=refuse)
    assert content["val"] == {"abs_rel": 0.25, "rmse": None}


def test_records_are_gathered_in_one_file(tmp_path):
    settings = {"seed": 1}
    other = replace(
        RECORD, key=key_of(settings, []), settings=settings, status="failed", error="a\nb"
    )
    for record in (RECORD, other):
        write_record(tmp_path / "runs", record)
    (tmp_path / "runs" / "records" / f".{KEY}.1234.json").write_text("half of a rec")
    records = read_records(tmp_path / "runs")
    gather(records.values(), tmp_path / "all.jsonl")
    text = (tmp_path / "all.jsonl").read_text()
    assert [json.loads(line)["key"] for line in text.splitlines()] == sorted(records)
    again = read_records(tmp_path / "all.jsonl")
    assert all(same(again[key], record) for key, record in records.items())


def test_what_decides_is_known_of_runs_that_are_done():
    assert RECORD.validated == 0.25
    assert math.isnan(replace(RECORD, status="diverged").validated)


def test_curves_are_kept_in_few_points():
    curves = {
        "val/top1": [(i, i / 3) for i in range(100)],
        "spectra/a/projector_rank": [(0, 2.0)],
        **{f"spectra/a/singular_values/{i}": [(0, 2.0), (9, 1.0)] for i in (0, 4, 9)},
        "lr-AdamW": [(0, 2.0)],
    }
    found = compact(curves)
    assert list(found) == ["spectra/a/directions", "spectra/a/projector_rank", "val/top1"]
    assert found["spectra/a/directions"] == [(9, 10.0)]
    assert len(found["val/top1"]) == 12
    assert found["val/top1"][-1] == (99, 33.0)
    assert found["val/top1"][1][1] == float(f"{found['val/top1'][1][0] / 3:.6g}")


def test_nothing_there(tmp_path):
    assert known_records(tmp_path) == {}
    for place in (tmp_path, tmp_path / "none.jsonl"):
        with pytest.raises(DataError, match=r"no records at .*anyteacher bench run"):
            read_records(place)


@pytest.mark.parametrize("line", ["{", "{}", "[1]", '{"val": 1}'])
def test_a_line_that_is_no_record(tmp_path, line):
    (tmp_path / "all.jsonl").write_text(f"{RECORD.line()}\n{line}\n")
    with pytest.raises(DataError, match=r"Line 2 of .*all.jsonl' is no record"):
        read_records(tmp_path / "all.jsonl")


def test_a_record_that_does_not_belong_to_its_key(tmp_path):
    write_record(tmp_path, replace(RECORD, settings={"seed": 1}))
    with pytest.raises(DataError, match="its key is not that of its settings"):
        read_records(tmp_path)


def test_a_metric_that_is_no_number(tmp_path):
    (tmp_path / "all.jsonl").write_text(RECORD.line().replace("0.25", '"low"'))
    with pytest.raises(DataError, match="could not convert string to float: 'low'"):
        read_records(tmp_path / "all.jsonl")


def test_two_records_of_a_run_that_differ(tmp_path):
    other = replace(RECORD, val={"abs_rel": 0.5})
    gather([RECORD, RECORD], tmp_path / "same.jsonl")
    assert list(read_records(tmp_path / "same.jsonl")) == [KEY]
    gather([RECORD, other], tmp_path / "all.jsonl")
    with pytest.raises(DataError, match=f"two records of the run {KEY} in .* and they differ"):
        read_records(tmp_path / "all.jsonl")


def test_compressed_records_are_the_same_file_each_time(tmp_path):
    one, two = tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"
    gather([RECORD], one)
    gather([RECORD], two)
    assert one.read_bytes() == two.read_bytes()
    assert gzip.decompress(one.read_bytes()).decode() == RECORD.line() + "\n"
    assert same(read_records(one)[KEY], RECORD)


@pytest.mark.parametrize(
    "content",
    [b"plain", gzip.compress(b"{}")[:-4], gzip.compress(b"\xff")],
    ids=["no gzip", "cut short", "no text"],  # the bytes hold the time
)
def test_a_damaged_file(tmp_path, content):
    path = tmp_path / "all.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"all\.jsonl\.gz' cannot be read"):
        read_records(path)
