"""Links, levels and methods by the command: what is trained, and what the run says of it."""

import json

import pytest
import runs
import yaml
from cli_flags import CONFIG, LINKS, link
from PIL import Image

from anyteacher.experiment import STUDENT
from anyteacher.logs import read_curves


def test_direction_and_weight_for_all_links(call, run, tmp_path):
    losses = {}
    for flag in ("direction=traditional", "direction=none", "weight=0.5"):
        folder = tmp_path / flag
        assert call("fit", CONFIG, f"--output={folder}", f"--distillation.{flag}")[0] == 0
        losses[flag] = read_curves(folder / "curves.csv")["train/total"]
    losses["as it is"] = read_curves(run / "curves.csv")["train/total"]
    assert len({tuple(values) for values in losses.values()}) == 4


def test_without_links_the_student_trains_alone(call, tmp_path):
    folder = tmp_path / "alone"
    alone = [f"{LINKS}=[]", "--teacher=null", "--seed=3"]
    assert call("fit", CONFIG, f"--output={folder}", *alone)[0] == 0
    assert not any("connections" in key for key in runs.read(folder)["state_dict"])


def test_links_given_by_a_flag_inherit_nothing(call, run, tmp_path):
    assert call("fit", CONFIG, f"--output={tmp_path / 'run'}", link())[0] == 0
    for folder, warmup in ((run, 7), (tmp_path / "run", 0)):
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert config["distillation"]["links"][0]["warmup"] == warmup


def test_several_teachers_by_name(call, tmp_path):
    path = tmp_path / "two.yaml"
    build = "{class_path: anyteacher.models.ConvNet, init_args: {classes: 5, widths: [6, 8]}}"
    random = "{class_path: anyteacher.teachers.Random, init_args: {seed: %d, build: " + build + "}}"
    path.write_text(
        f"teacher:\n  first: {random % 1}\n  second: {random % 2}\n"
        "distillation:\n  links:\n"
        "    - {student: stages.1, teacher: stages.1, of: first, name: one}\n"
        "    - {student: stages.0, teacher: stages.0, of: second, name: two}\n"
    )
    folder = tmp_path / "run"
    assert call("fit", CONFIG, f"--config={path}", f"--output={folder}")[0] == 0
    assert {"train/one", "train/two"} <= set(read_curves(folder / "curves.csv"))
    again = tmp_path / "again"
    assert call("fit", f"--config={folder / 'config.yaml'}", f"--output={again}")[0] == 0
    assert (again / STUDENT).read_bytes() == (folder / STUDENT).read_bytes()


LEVELS = {
    "a loss for each": {"level_weights": [1, 0.5]},
    "a projector of all": {"projector": "ABF", "loss": "HCL", "level_weights": [1, 1]},
    "a loss of all": {"loss": {"class_path": "FSP", "init_args": {"pool": "average"}}},
}


@pytest.mark.parametrize("case", LEVELS)
@pytest.mark.parametrize("direction", ["inverted", "traditional"])
def test_a_link_over_several_levels(call, tmp_path, case, direction):
    taps = ["stages.0", "stages.1"]
    settings = {"student": taps, "teacher": taps, "warmup": 0, **LEVELS[case]}
    path = tmp_path / "levels.yaml"
    path.write_text(yaml.dump({"distillation": {"links": [settings], "direction": direction}}))
    folder, again = tmp_path / "run", tmp_path / "again"
    assert call("fit", CONFIG, f"--config={path}", f"--output={folder}")[0] == 0
    assert "train/stages.0+stages.1<-stages.0+stages.1" in read_curves(folder / "curves.csv")
    saved = yaml.safe_load((folder / "config.yaml").read_text())["distillation"]["links"][0]
    assert (saved["student"], saved["teacher"]) == (taps, taps)
    assert saved["level_weights"] == LEVELS[case].get("level_weights", [])
    assert call("fit", f"--config={folder / 'config.yaml'}", f"--output={again}")[0] == 0
    assert (again / STUDENT).read_bytes() == (folder / STUDENT).read_bytes()
    assert call("test", folder)[0] == 0


METHOD = [
    ["--distillation", "fitnet"],
    ["--distillation=fitnet"],
    ["--distillation.method=fitnet"],
    ["--distillation.method", "fitnet()"],
]


def test_a_method_by_its_name_however_it_is_given(call, run, tmp_path):
    (tmp_path / "named.yaml").write_text("distillation: {method: fitnet}\n")
    weights = set()
    for number, flags in enumerate([*METHOD, [f"--config={tmp_path / 'named.yaml'}"]]):
        folder = tmp_path / str(number)
        assert call("fit", CONFIG, f"--output={folder}", *flags)[0] == 0
        assert "train/fitnet stages.1<-stages.1" in read_curves(folder / "curves.csv")
        weights.add((folder / STUDENT).read_bytes())
    assert len(weights) == 1
    assert (run / STUDENT).read_bytes() not in weights


@pytest.mark.parametrize("method", ["rkd", "crd(samples=80)", "ab", "ofd"])
def test_a_run_by_a_method_says_so_and_reads_back(call, tmp_path, method):
    folder, again = tmp_path / "run", tmp_path / "again"
    assert call("fit", CONFIG, f"--output={folder}", "--distillation", method)[0] == 0
    saved = yaml.safe_load((folder / "config.yaml").read_text())["distillation"]
    assert saved["method"] == method
    assert (saved["links"][0]["student"], saved["links"][0]["warmup"]) == ("stages.1", 7)
    assert call("fit", f"--config={folder / 'config.yaml'}", f"--output={again}")[0] == 0
    assert (again / STUDENT).read_bytes() == (folder / STUDENT).read_bytes()
    assert call("test", folder)[0] == 0
    Image.new("L", (8, 8), 90).save(tmp_path / "one.png")
    images = f"--images={tmp_path / 'one.png'}"
    assert call("predict", folder, images, f"--output={tmp_path / 'out'}")[0] == 0


def test_a_method_takes_the_common_direction_and_weight(call, tmp_path):
    totals = {}
    for flag in ("direction=inverted", "direction=none", "weight=0.5"):
        folder = tmp_path / flag
        flags = ["--distillation=at", f"--distillation.{flag}"]
        assert call("fit", CONFIG, f"--output={folder}", *flags)[0] == 0
        curves = read_curves(folder / "curves.csv")
        task, loss, total = (
            curves[f"train/{name}"][0][1] for name in ("task", "at stages.1<-stages.1", "total")
        )
        assert total == pytest.approx(task + (500 if "weight" in flag else 1000) * loss, rel=1e-4)
        totals[flag] = total
    assert len(set(totals.values())) == 3


@pytest.mark.parametrize("method", ["fsp", "kd_svd", "reviewkd"])
def test_links_are_the_levels_of_a_method_over_levels(call, tmp_path, method):
    links = [{"student": f"stages.{n}", "teacher": f"stages.{n}"} for n in range(2)]
    flags = [f"{LINKS}={json.dumps(links)}", "--distillation", method]
    folder, again = tmp_path / "run", tmp_path / "again"
    assert call("fit", CONFIG, f"--output={folder}", *flags)[0] == 0
    curves = read_curves(folder / "curves.csv")
    assert f"train/{method} stages.0+stages.1<-stages.0+stages.1" in curves
    assert call("fit", f"--config={folder / 'config.yaml'}", f"--output={again}")[0] == 0
    assert (again / STUDENT).read_bytes() == (folder / STUDENT).read_bytes()


@pytest.mark.parametrize("method", ["kd", "dist", "standardized_kd"])
def test_features_are_not_taken_for_logits(call, tmp_path, method):
    status, _, error = call("fit", CONFIG, f"--output={tmp_path / 'run'}", "--distillation", method)
    assert status == 2
    assert "compares logits, and taps a feature of 8 channels" in error
    assert "whose output has 10" in error
