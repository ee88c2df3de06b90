import json
import math

import pytest
import yaml

from anyteacher.errors import ConfigError, DataError
from anyteacher.findings.run import flattened, read_run, read_runs


def test_a_run_is_read_as_it_lies_there(runs):
    run = read_run(runs["taught-1"])
    assert run.seeds == (1, 0)
    assert run.config == yaml.safe_load((runs["taught-1"] / "config.yaml").read_text())
    assert "val/top1" in run.curves
    assert run.tested is None


@pytest.mark.parametrize(
    ("seed", "data", "text"), [(0, 0, "0"), (3, 0, "3"), (3, 3, "3"), (0, 2, "0, data 2")]
)
def test_the_seed_of_the_data_is_named_where_it_is_one_of_its_own(finding, seed, data, text):
    settings = {"data": {"class_path": "DigitsData", "init_args": {"seed": data}}}
    assert finding(seed=seed, settings=settings).run.seed_text == text


def test_settings_leave_out_seeds_and_what_changes_no_number(finding):
    one = finding(seed=1, settings={"threads": 3, "trainer": {"enable_progress_bar": False}}).run
    other = finding(seed=2, settings={"trainer": {"enable_progress_bar": True}}).run
    assert one.settings == other.settings
    assert one.settings["distillation.weight"] == 1.0
    assert finding(settings={"distillation": {"weight": 2.0}}).run.settings != one.settings
    random = {"class_path": "Random", "init_args": {"seed": 1}}  # of the teacher: another one
    assert finding(settings={"teacher": random}).run.settings["teacher.init_args.seed"] == 1


@pytest.mark.parametrize(("mode", "best"), [("max", 0.9), ("min", 0.2)])
def test_the_best_validation_value_goes_by_the_metrics_direction(finding, mode, best):
    curves = {"val/top1": [(1, 0.5), (2, 0.9), (3, 0.2)]}
    assert finding(curves=curves, mode=mode).validated == best
    assert finding().validated is None
    assert finding(tested={"top1": 0.7, "top5": 0.8}).tested == 0.7
    assert finding(tested={"top5": 0.8}).tested is None


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    "order", [[math.nan, 0.5, 0.9], [0.9, 0.5, math.nan], [0.5, math.nan, 0.9]]
)
def test_the_best_value_is_one_that_is_a_number_in_any_order(finding, mode, order):
    curves = {"val/top1": list(enumerate(order))}
    assert finding(curves=curves, mode=mode).validated == (0.5 if mode == "min" else 0.9)
    assert math.isnan(finding(curves={"val/top1": [(1, math.nan)]}, mode=mode).validated)


def test_flattened_settings_have_every_leaf():
    nested = {"a": {"b": 1, "c": [{"d": 2}, 3]}, "e": None, "f": [], "g": {}}
    expected = {"a.b": 1, "a.c[0].d": 2, "a.c[1]": 3, "e": None, "f": [], "g": {}}
    assert dict(flattened(nested)) == expected


def test_what_is_no_run(tmp_path, runs):
    with pytest.raises(ConfigError, match=r"'nowhere' is no run: it has no config\.yaml"):
        read_run(type(tmp_path)("nowhere"))
    config = (runs["alone-0"] / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(config)
    with pytest.raises(
        ConfigError, match=r"it has no student\.safetensors\. It stopped .* --output [^ ,]*`\.$"
    ):
        read_run(tmp_path)


def test_settings_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "student.safetensors").touch()
    for content, said in (
        (b"a: [", r"cannot be read: .*expected"),
        (b"a: \xff", "cannot be read: .*decode"),
        (b"", "holds no settings"),
    ):
        (tmp_path / "config.yaml").write_bytes(content)
        with pytest.raises(ConfigError, match=rf"config\.yaml' {said}"):
            read_run(tmp_path)


def test_a_run_given_twice_is_refused_under_any_name(runs, tmp_path):
    folder = runs["alone-0"]
    with pytest.raises(ConfigError, match=r"given twice\. Give every run once"):
        read_runs([folder, runs["alone-1"], folder])
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(ConfigError, match=r"link' is given twice, also as '.*alone-0'"):
        read_runs([folder, link])
    assert len(read_runs([folder, runs["alone-1"]])) == 2


def test_a_damaged_result_is_named(runs, tmp_path):
    path = runs["alone-1"] / "test.json"
    path.write_text(json.dumps({"metrics": 3}))
    try:
        with pytest.raises(DataError, match=r"test\.json' is damaged"):
            read_run(runs["alone-1"])
    finally:
        path.unlink()
