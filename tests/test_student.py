import functools
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from anyteacher import ImageNorm, load_student
from anyteacher.errors import DataError, LayoutError, TeacherError
from anyteacher.models import ConvNet, EncoderDecoder
from anyteacher.readout import Classes, Metres
from anyteacher.student import DESCRIPTION, Student, build, read_description

NORM = ImageNorm((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def described(**changed):
    return {
        "student": {
            "class_path": "anyteacher.models.EncoderDecoder",
            "init_args": {"out_channels": 1, "width": 4},
        },
        "norm": {"mean": list(NORM.mean), "std": list(NORM.std)},
        "readout": {
            "class_path": "anyteacher.readout.Metres",
            "init_args": {"output_is": "log", "min_depth": 0.1, "max_depth": 20},
        },
        "channels": 3,
        **changed,
    }


@pytest.fixture
def model():
    return EncoderDecoder(1, width=4)


@pytest.fixture
def write(model, tmp_path):
    def to(description):
        path = tmp_path / "student.safetensors"
        save_file(model.state_dict(), path, {DESCRIPTION: json.dumps(description)})
        return path

    return to


def test_images_are_normalised_and_the_output_is_the_final_one(model):
    student = Student(model, norm=NORM, readout=Metres("log", 0.1, 20), description={"a": 1})
    images = torch.rand(2, 3, 20, 37)
    mean, std = torch.tensor(NORM.mean), torch.tensor(NORM.std)
    fed = (images - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(student(images), model(fed).exp().clamp(0.1, 20))
    assert not student.training
    assert student.description == {"a": 1}


def test_plain_images_reach_the_model_untouched(model):
    seen = []
    model.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    student = Student(model, norm=ImageNorm(), readout=Metres("log", 1, 2), description={})
    images = torch.rand(1, 3, 16, 16)
    student(images)
    assert seen[0] is images


def test_a_file_gives_the_same_student(model, write):
    student = Student(model, norm=NORM, readout=Metres("log", 0.1, 20), description=described())
    loaded = load_student(write(described()))
    images = torch.rand(2, 3, 20, 37)
    assert torch.equal(loaded(images), student(images))
    assert loaded.description == described()
    assert not loaded.training


TAKES = r"takes images \(B, 3, H, W\) of float32 in \[0, 1\], got .*"
GIVEN = {
    "grey": (torch.rand(2, 1, 16, 16), r"float32 of shape \(2, 1, 16, 16\).*channels come first"),
    "channels last": (torch.rand(2, 16, 16, 3), r"shape \(2, 16, 16, 3\).*channels come first"),
    "one image": (torch.rand(3, 16, 16), r"shape \(3, 16, 16\).*x\[None\] is a batch of one"),
    "rows": (torch.rand(3, 16), r"shape \(3, 16\).*channels come first"),
    "bytes": (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), r"uint8 .*x\.float\(\) / 255"),
    "doubles": (torch.rand(1, 3, 16, 16).double(), r"float64 of shape .*Give x\.float\(\)\."),
}


@pytest.mark.parametrize("case", GIVEN)
def test_other_images_are_refused_in_a_sentence(case, write):
    images, said = GIVEN[case]
    with pytest.raises(LayoutError, match=TAKES + said):
        load_student(write(described()))(images)


def test_images_have_the_precision_of_the_student(write):
    student = load_student(write(described())).double()
    student(torch.rand(1, 3, 16, 16).double())
    with pytest.raises(LayoutError, match=r"of float64 .*Give x\.to\(torch\.float64\)\."):
        student(torch.rand(1, 3, 16, 16))


def test_a_compiled_student_gives_the_same(write):
    student = load_student(write(described()))
    compiled = torch.compile(student, backend="eager", fullgraph=True)
    with torch.no_grad():
        for shape in ((1, 3, 16, 16), (2, 3, 16, 24)):
            images = torch.rand(shape)
            torch.testing.assert_close(compiled(images), student(images))


def test_no_code_of_training_is_imported(write):
    program = (
        f"import sys, torch, anyteacher; s = anyteacher.load_student({str(write(described()))!r}); "
        "s(torch.rand(1, 3, 32, 32)); print(*sorted(sys.modules))"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = set(ran.stdout.split())
    assert {"anyteacher.student", "anyteacher.models", "safetensors"} <= modules
    parts = ("training", "experiment", "tasks", "data", "metrics", "optimization", "cli", "export")
    assert not modules & {f"anyteacher.{part}" for part in parts}
    heavy = {"lightning", "pytorch_lightning", "jsonargparse", "torchmetrics", "PIL", "rich"}
    assert not modules & (heavy | {"torchvision", "timm", "transformers", "sklearn", "yaml"})


def test_files_that_cannot_be_read(write, model, tmp_path):
    with pytest.raises(DataError, match=r"no file '.*none'.*`anyteacher export`"):
        load_student(tmp_path / "none")
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(DataError, match="no safetensors file, or a damaged one"):
        load_student(tmp_path / "text")
    save_file(model.state_dict(), tmp_path / "plain.safetensors")
    with pytest.raises(DataError, match=r"does not say of what. `anyteacher export RUN`"):
        read_description(tmp_path / "plain.safetensors")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("{", r"student.safetensors' says of its weights is no JSON \(Expecting"),
        ("[1]", "says nothing of its student and norm and readout"),
        ("{}", "says nothing of its student and norm and readout"),
        (described(readout=None), "says nothing of its readout"),
        (described(norm={"mean": [0.5]}), r"`mean` and `std` .*\{'mean': \[0.5\]\}"),
        (described(norm={"mean": "a", "std": [1]}), "`mean` and `std`"),
        (described(student={}), r"`class_path`, .* the file says \{\}"),
        (described(student={"class_path": "Net"}), "`class_path`, .* 'Net'"),
        (described(student={"class_path": 3}), "`class_path`, .* 3"),
        (described(student={"class_path": "torch.nn.ReLU", "init_args": [1]}), r"by name, .*\[1\]"),
        (described(student={"class_path": ".Net"}), "needs '.Net', which cannot be imported"),
        (described(student={"class_path": "..a.Net"}), "needs '..a.Net', which cannot be imported"),
        (described(student=described()["readout"]), "student.safetensors' is a Metres, no model"),
        (
            described(student={"class_path": "torch.nn.Conv2d", "init_args": {
                "in_channels": 3, "out_channels": 3, "kernel_size": 1, "groups": 2}}),
            r"'torch.nn.Conv2d' does not take the arguments .*\(in_channels must be divisible",
        ),
    ],
)  # fmt: skip
def test_a_foreign_description_is_named(said, message, model, tmp_path):
    path = tmp_path / "student.safetensors"
    text = said if isinstance(said, str) else json.dumps(said)
    save_file(model.state_dict(), path, {DESCRIPTION: text})
    with pytest.raises(DataError, match=message):
        load_student(path)


def test_another_model_than_that_of_the_weights(write):
    wider = {"class_path": "anyteacher.models.EncoderDecoder", "init_args": {"out_channels": 3}}
    with pytest.raises(TeacherError, match="another model than this EncoderDecoder"):
        load_student(write(described(student=wider)))


class Outer(nn.Module):
    def __init__(self, inner: nn.Module, others: list[nn.Module], names: dict[str, int]):
        super().__init__()
        self.inner, self.others, self.names = inner, nn.ModuleList(others), names


def resnet(depth: int = 2, **more: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Conv2d(1, more.get("width", 3), 1) for _ in range(depth)))


def for_checkers(image: "Known" = None, depth: int = 2) -> "nn.Module":  # noqa: F821
    return nn.Conv2d(1, depth, 1)


def hidden(depth: int = 2) -> "Known":  # noqa: F821
    return nn.Conv2d(1, depth, 1)


def elsewhere(function):
    """As a decorator of a module that knows nothing of torch."""
    names = {"functools": functools}
    exec(
        "def decorate(function):\n"
        "    @functools.wraps(function)\n"
        "    def inner(*args, **kwargs):\n"
        "        return function(*args, **kwargs)\n"
        "    return inner\n",
        names,
    )
    return names["decorate"](function)


@elsewhere
def decorated(depth: int = 2) -> "nn.Module":
    return nn.Conv2d(1, depth, 1)


def unknown(depth=2):
    return nn.Conv2d(1, depth, 1)


@pytest.fixture
def here(monkeypatch):
    """This file as a module that can be imported."""
    monkeypatch.setitem(sys.modules, "net", sys.modules[__name__])
    return "net"


def test_models_within_models_and_functions(here):
    small = {"class_path": "anyteacher.models.ConvNet", "init_args": {"classes": 3}}
    made = build(
        {
            "class_path": "net.Outer",
            "init_args": {"inner": small, "others": [small, small], "names": {"a": 2}},
        }
    )
    assert isinstance(made.inner, ConvNet)
    assert [type(other) for other in made.others] == [ConvNet, ConvNet]
    assert made.names == {"a": 2}
    made = build(
        {"class_path": "net.resnet", "init_args": {"depth": 3}, "dict_kwargs": {"width": 5}}
    )
    assert [layer.out_channels for layer in made] == [5, 5, 5]
    assert build({"class_path": "net.for_checkers", "init_args": {"depth": 4}}).out_channels == 4
    assert build({"class_path": "net.decorated", "init_args": {"depth": 5}}).out_channels == 5
    assert build({"class_path": "anyteacher.readout.Classes", "init_args": {}}) == Classes()


@pytest.mark.parametrize(
    "path", ["os.system", "builtins.eval", "subprocess.Popen", "net.unknown", "net.hidden"]
)
def test_what_makes_no_model_is_not_called(path, here):
    with pytest.raises(DataError, match=rf"'{path}' is no torch module.*is not called"):
        build({"class_path": path, "init_args": {"command": "exit 1"}})


def test_what_is_not_there_or_of_another_version(here):
    for path in ("nowhere.Net", "net.Net"):
        with pytest.raises(DataError, match=f"needs '{path}', which cannot be imported"):
            build({"class_path": path})
    with pytest.raises(DataError, match=r"does not take the arguments.*'widht'"):
        build({"class_path": "anyteacher.models.EncoderDecoder", "init_args": {"widht": 4}})
