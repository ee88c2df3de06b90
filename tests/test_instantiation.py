import sys

import pytest
import torch
from fits import CONFIG
from torch import nn

from anyteacher.errors import ConfigError, DataError, TeacherError
from anyteacher.experiment import Experiment
from anyteacher.instantiation import (
    finished,
    image_shape,
    instantiate,
    instantiate_alone,
    instantiate_data,
)
from anyteacher.parsers import make_parser
from anyteacher.teachers import Random
from anyteacher.unfinished import last_checkpoint


@pytest.fixture
def read():
    def make(*flags):
        parser, _ = make_parser("fit", "")
        return parser, parser.parse_args([CONFIG, *flags])

    return make


def test_settings_become_an_experiment_and_the_trainers_arguments(read):
    made, trainer = instantiate(*read("--optimization.lr=0.5"))
    assert isinstance(made, Experiment)
    assert isinstance(made.teacher, Random)
    assert (made.optimization.lr, made.distillation.links[0].warmup) == (0.5, 7)
    assert trainer["max_epochs"] == 2


def test_the_seed_decides_the_weights(read):
    weights = [instantiate(*read(f"--seed={seed}"))[0].student.head.weight for seed in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_student_alone_needs_no_teacher(read):
    gone = ["--teacher=anyteacher.Teacher", "--teacher.model=torch.nn.Identity"]
    gone += ["--teacher.weights=gone.pt"]
    made, _ = instantiate_alone(*read(*gone, "--distillation.method=fitnet"))
    assert (made.teacher, made.distillation.resolved()) == (None, ())
    with pytest.raises(TeacherError, match=r"no checkpoint at 'gone\.pt'"):
        instantiate(*read(*gone))


class Pretrained(nn.Module):
    """Finds no network."""

    def __init__(self, encoder_weights: str | None = "imagenet") -> None:
        super().__init__()
        self.head = nn.Linear(1, 1)
        if encoder_weights:
            raise ConnectionError("No route to the hub.")


def test_weights_that_cannot_be_fetched_are_one_sentence(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "net", sys.modules[__name__])
    with pytest.raises(ConfigError, match=r"^The student cannot be made \(Conn.* --student\.enc"):
        instantiate(*read("--student=net.Pretrained"))
    student = read("--student=net.Pretrained", "--student.encoder_weights=null")
    assert isinstance(instantiate(*student)[0].student, Pretrained)


def test_data_and_task_are_made_without_any_model(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "net", sys.modules[__name__])
    made, _ = instantiate(*read())
    data, task = instantiate_data(*read("--student=net.Pretrained"))
    assert (type(data), type(task)) == (type(made.data), type(made.task))


def test_a_missing_folder_of_data_is_said_before_weights_are_fetched(read, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "net", sys.modules[__name__])
    given = read(
        "--student=net.Pretrained", "--data=ImageNetData", f"--data.root={tmp_path / 'no'}"
    )
    for make in (instantiate, instantiate_alone, instantiate_data):
        with pytest.raises(
            DataError, match=r"no folder '.*no' for ImageNetData .*\(--data\.root\)"
        ):
            make(*given)
    # A student is predicted with and exported where its data never were.
    with pytest.raises(ConfigError, match="The student cannot be made"):
        instantiate_alone(*given, with_data=False)


def test_the_weights_of_a_finished_run(tmp_path):
    with pytest.raises(ConfigError, match=r"no student\.safetensors\. It stopped .*\(--weights"):
        finished(tmp_path)
    last_checkpoint(tmp_path).mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"no student\.safetensors\. Go on with `.*\(--weights"):
        finished(tmp_path)
    (tmp_path / "student.safetensors").touch()
    assert finished(tmp_path) == tmp_path / "student.safetensors"


def test_the_images_that_a_run_was_trained_on(tmp_path):
    with pytest.raises(ConfigError, match=r"not finished: it has no run\.json.*start it again"):
        image_shape(tmp_path)
    last_checkpoint(tmp_path).mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"it was trained on\. Go on with `[^`]*`\.$"):
        image_shape(tmp_path)
    (tmp_path / "run.json").write_text('{"image": [3, 48, 64], "step": 2}')
    assert image_shape(tmp_path) == (3, 48, 64)
