import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from cells import ALONE, TAUGHT

from anyteacher import parsers
from anyteacher.bench import worker
from anyteacher.bench.cell import Choice
from anyteacher.bench.record import known_records, read_records
from anyteacher.bench.worker import best_metrics, run_cell, source_commit
from anyteacher.errors import NonFiniteError
from anyteacher.report import machine_facts
from anyteacher.training import TrainingModule


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Makes a run in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    return lambda cell, call=parsers.call: run_cell(cell, tmp_path, 1, call)


def test_a_run_leaves_its_record(run, cell, tmp_path, capfd):
    one = cell(TAUGHT)
    record = run(one)
    assert (record.status, record.error) == ("done", "")
    assert (record.key, record.monitor, record.mode) == (one.key, "abs_rel", "min")
    assert record.settings == one.settings()
    assert {"abs_rel", "rmse"} <= record.val.keys() & record.test.keys()
    assert record.val != record.test
    assert min(record.seconds[part] for part in ("fit", "steps", "validation", "test")) > 0
    assert record.seconds["steps"] + record.seconds["validation"] < record.seconds["fit"]
    assert record.machine.keys() == machine_facts().keys()
    assert any(name.endswith("projector_rank") for name in record.curves)
    assert read_records(tmp_path)[one.key].line() == record.line()
    folder = tmp_path / one.folder
    assert "Trained in" in (folder / "log.txt").read_text()
    assert (folder / "student.safetensors").is_file()
    assert not (folder / "checkpoints").exists()
    assert capfd.readouterr().out == ""
    tested = json.loads((folder / "test.json").read_text())["metrics"]
    assert tested == record.test


def test_the_test_data_are_not_read_where_something_is_chosen(run, cell):
    called = []

    def call(command, rest):
        called.append(command)
        return parsers.call(command, rest)

    record = run(cell(stage="selection"), call)
    assert called == ["fit"]
    assert record.test == {}
    assert "test" not in record.seconds
    assert record.validated == record.val["abs_rel"] > 0


def test_what_is_killed_goes_on_to_the_same_result(run, cell, tmp_path, monkeypatch):
    whole = run(cell(TAUGHT))
    for part in ("runs", "records"):
        shutil.rmtree(tmp_path / part)

    class KilledError(BaseException):
        pass

    own = TrainingModule.training_step

    def killed(module, *arguments):
        if module.global_step == 3:
            raise KilledError
        return own(module, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", killed)
        with pytest.raises(KilledError):
            run(cell(TAUGHT))
    assert known_records(tmp_path) == {}
    assert (tmp_path / cell(TAUGHT).folder / "checkpoints" / "last.ckpt").exists()
    resumed = run(cell(TAUGHT))
    assert (resumed.val, resumed.test) == (whole.val, whole.test)


def test_a_loss_that_is_not_finite_is_a_result(run, cell):
    record = run(cell(choice=Choice(lr=1e20)))
    assert (record.status, record.error) == ("diverged", record.error)
    assert "At step" in record.error
    assert record.test == {}


def test_what_goes_wrong_is_recorded_by_name(run, cell, tmp_path):
    def broken(command, rest):
        raise OSError("no space")

    record = run(cell(), broken)
    assert (record.status, record.error) == ("failed", "OSError: no space")
    assert read_records(tmp_path)[record.key].error == "OSError: no space"
    assert run(cell()).status == "done"
    assert read_records(tmp_path)[record.key].status == "done"


def test_the_metrics_are_those_of_the_first_best_step():
    curves = {
        "val/a": [(1, 0.5), (2, 0.2), (3, 0.2), (4, float("nan"))],
        "val/b": [(1, 1.0), (2, 2.0), (3, 3.0)],
        "train/b": [(2, 9.0)],
    }
    assert best_metrics(curves, "a", "min") == {"a": 0.2, "b": 2.0}
    assert best_metrics(curves, "a", "max") == {"a": 0.5, "b": 1.0}
    with pytest.raises(NonFiniteError, match="Every validation has given a c"):
        best_metrics({"val/c": [(1, float("nan"))]}, "c", "max")


def test_the_commit_is_that_of_the_checkout():
    assert re.fullmatch(r"[0-9a-f]{12}(-dirty)?", source_commit())


def test_outside_of_a_checkout_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(worker, "__file__", str(tmp_path / "worker.py"))
    assert source_commit.__wrapped__() == ""


def test_memory_of_the_process_is_told_where_the_system_counts_it_anew(run, cell, monkeypatch):
    counted = Path("/proc/self/clear_refs").exists()
    record = run(cell(stage="selection"))
    assert ("host" in record.memory) == counted
    monkeypatch.setattr(worker, "_RESET", Path("/proc/none/clear_refs"))
    assert run(cell(stage="selection", seed=1)).memory == {}


def test_arms_differ_in_what_is_distilled_alone(run, cell):
    alone = run(cell())
    teacher = cell(replace(ALONE, task="segmentation"), stage="teacher", seed=1000)
    assert run(teacher).status == "done"
    taught = replace(TAUGHT, teacher="segmentation")
    nothing = Choice(weight=0.0)
    for one in (cell(TAUGHT, nothing), cell(taught, nothing, teacher=teacher)):
        record = run(one)
        assert (record.val, record.test) == (alone.val, alone.test)
    assert run(cell(taught, Choice(weight=10.0), teacher=teacher)).test != alone.test
