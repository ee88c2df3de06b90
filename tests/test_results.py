import json

import pytest

from anyteacher.errors import DataError
from anyteacher.results import read_result, write_result


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "student.safetensors"
    path.write_bytes(b"weights" * 1000)
    return path


def test_metrics_come_back_exactly_as_long_as_the_weights_stay(tmp_path, weights):
    metrics = {"top1": 1 / 3, "loss": 1e-12}
    path = write_result(tmp_path, "test", metrics, weights)
    assert path == tmp_path / "test.json"
    assert read_result(tmp_path, "test", weights) == metrics
    assert read_result(tmp_path, "val", weights) is None
    weights.write_bytes(b"others!" * 1000)
    assert read_result(tmp_path, "test", weights) is None


def test_the_file_says_what_it_is_of(tmp_path, weights):
    content = json.loads(write_result(tmp_path, "val", {"top1": 0.5}, weights).read_text())
    assert content["metrics"] == {"top1": 0.5}
    assert content["weights"]["file"] == "student.safetensors"
    assert len(content["weights"]["sha256"]) == 64


def test_writing_replaces_the_whole_file_or_nothing(tmp_path, weights, monkeypatch):
    write_result(tmp_path, "test", {"top1": 0.1}, weights)

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="disk full"):
        write_result(tmp_path, "test", {"top1": 0.2}, weights)
    assert read_result(tmp_path, "test", weights) == {"top1": 0.1}
    assert {path.name for path in tmp_path.iterdir()} == {"test.json", weights.name}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"metrics": 3}', '{"metrics": {"a": "b"}}'])
def test_a_damaged_file_says_what_to_do(tmp_path, weights, content):
    (tmp_path / "val.json").write_text(content)
    with pytest.raises(DataError, match=r"val\.json' is damaged .*`anyteacher validate "):
        read_result(tmp_path, "val", weights)
