import pytest
import torch
from fits import CONFIG

from anyteacher.errors import ConfigError, TeacherError
from anyteacher.experiment import Experiment
from anyteacher.instantiation import finished, image_shape, instantiate, instantiate_alone
from anyteacher.parsers import make_parser
from anyteacher.teachers import Random


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


def test_the_weights_of_a_finished_run(tmp_path):
    with pytest.raises(ConfigError, match=r"not finished: it has no student\.safetensors"):
        finished(tmp_path)
    (tmp_path / "student.safetensors").touch()
    assert finished(tmp_path) == tmp_path / "student.safetensors"


def test_the_images_that_a_run_was_trained_on(tmp_path):
    with pytest.raises(ConfigError, match=r"not finished: it has no run\.json.*Go on with"):
        image_shape(tmp_path)
    (tmp_path / "run.json").write_text('{"image": [3, 48, 64], "step": 2}')
    assert image_shape(tmp_path) == (3, 48, 64)
