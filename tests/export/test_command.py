import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from anyteacher import cli, load_student
from anyteacher.data.digits import DigitsData
from anyteacher.experiment import Experiment
from anyteacher.export.command import alone, without_downloads
from anyteacher.export.formats import FORMATS, Order, Written, safetensors
from anyteacher.models import ConvNet
from anyteacher.tasks import Task
from anyteacher.weights import load_weights

CONFIG = Path(__file__).parents[1] / "programs" / "digits.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "one"
    assert cli.main(["fit", f"--config={CONFIG}", f"--output={folder}"]) == 0
    return folder


@pytest.fixture
def call(capsys):
    def to(*arguments):
        capsys.readouterr()
        status = cli.main(["export", *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out.replace("\n", " "), printed.err

    return to


def test_the_best_student_in_every_format(run, call, tmp_path):
    status, said, _ = call(
        run, "--format", "safetensors", "onnx", "torch", "--output", tmp_path / "to"
    )
    assert status == 0
    names = {"student.safetensors", "student.pt2", "student.onnx"}
    assert {path.name for path in (tmp_path / "to").iterdir()} == names
    assert all(name in said for name in names)
    assert said.count("differs by") == 3
    loaded = load_student(tmp_path / "to" / "student.safetensors")
    settings = yaml.safe_load((run / "config.yaml").read_text())
    student = ConvNet(**settings["student"]["init_args"]).eval()
    load_weights(student, run / "student.safetensors")
    images = torch.rand(3, 1, 8, 8)
    final = loaded(images)
    torch.testing.assert_close(final, student(images).softmax(1))
    program = torch.export.load(tmp_path / "to" / "student.pt2").module()
    torch.testing.assert_close(program(images), final)
    assert loaded.description["input"].startswith("(batch, 1, height, width), float32, grey in ")
    assert loaded.description["task"] == settings["task"]


def test_by_default_safetensors_in_the_run(run, call):
    status, said, _ = call(run, "--check", "false")
    assert status == 0
    assert [path.name for path in (run / "export").iterdir()] == ["student.safetensors"]
    assert "differs" not in said


def test_other_weights_and_settings(run, call, tmp_path):
    best = run / "checkpoints" / "best.ckpt"
    assert call(run, "--weights", best, "--output", tmp_path, "--images_norm.mean=[0.5]")[0] == 0
    assert load_student(tmp_path / "student.safetensors").description["norm"]["mean"] == [0.5]


def test_a_size_of_ones_own(run, call, tmp_path):
    given = (run, "--format", "torch", "--output", tmp_path, "--size")
    assert call(*given, 16, 24)[0] == 0
    program = torch.export.load(tmp_path / "student.pt2")
    assert program.example_inputs[0][0].shape == (2, 1, 16, 24)
    status, _, problem = call(*given, 0, 24)
    assert status == 2
    assert "at least one pixel, got --size 0 24" in problem


def test_no_more_freedom_is_said(run, call, monkeypatch):
    written = Written(Path("student.pt2"), "one image of 8 x 8", "it counts them", None)
    monkeypatch.setitem(FORMATS, "torch", lambda order: written)
    status, said, _ = call(run, "--format", "torch")
    assert status == 0
    assert "student.pt2 takes one image of 8 x 8. It takes no more: it counts them." in said


WRONG = {
    "format": (["--format", "onxx"], ["no format 'onxx'", "Did you mean onnx?"]),
    "one of several": (["--format", "onnx", "pt"], ["no format 'pt'", "onnx", "torch"]),
    "weights": (["--weights", "nowhere.pt"], ["no checkpoint at 'nowhere.pt'"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_a_line(name, run, call, tmp_path):
    arguments, parts = WRONG[name]
    status, _, problem = call(run, "--output", tmp_path / "to", *arguments)
    assert status == 2
    assert problem.count("\n") == 1
    for part in parts:
        assert part.lower() in problem.lower()
    assert not (tmp_path / "to").exists()


def test_no_run(call, tmp_path):
    status, _, problem = call(tmp_path)
    assert status == 2
    assert "is no run" in problem


def test_a_missing_extra(run, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    status, _, problem = call(run, "--format", "onnx")
    assert status == 2
    assert "pip install 'anyteacher[export]'" in problem


def test_names_of_weights_to_fetch_are_left_out():
    given = {
        "class_path": "net.Net",
        "init_args": {
            "weights": "IMAGENET1K_V1",
            "encoder_weights": "imagenet",
            "weights_backbone": "DEFAULT",
            "pretrained": True,
            "checkpoint_path": "a.pth",
            "class_weights": [0.5, 2.0],
            "parts": [{"init_args": {"pretrained": True, "width": 3}}],
        },
    }
    assert without_downloads(given) == {
        "class_path": "net.Net",
        "init_args": {
            "weights": None,
            "encoder_weights": None,
            "weights_backbone": None,
            "pretrained": False,
            "checkpoint_path": "",
            "class_weights": [0.5, 2.0],
            "parts": [{"init_args": {"pretrained": False, "width": 3}}],
        },
    }


class Halves(Task):
    """A task of one's own, which says nothing of being exported."""

    target, monitor, mode, kind = "label", "loss", "min", "global"

    def __init__(self, factor: float = 0.5) -> None:
        super().__init__(2)
        self.factor = factor

    def prediction(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        return self.check(output) * self.factor

    loss = metrics = update = draw = save = None


def test_a_task_of_ones_own_gives_its_prediction(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mine", sys.modules[__name__])
    made = Experiment(Halves(0.25), ConvNet(2), DigitsData())
    plain = {
        "student": {"class_path": "anyteacher.models.ConvNet", "init_args": {"classes": 2}},
        "task": {"class_path": "mine.Halves", "init_args": {"factor": 0.25}},
    }
    student = alone(made, plain, (1, 8, 8))
    images = torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(student(images), made.student(images) / 4)
    assert "prediction of" in student.description["output"]
    loaded = load_student(safetensors(Order(student, tmp_path, 1, (8, 8))).path)
    assert torch.equal(loaded(images), student(images))
