"""Every task in every format: files are read here by other code than that which checked them."""

import json
import re
from pathlib import Path

import onnx
import onnxruntime
import pytest
import runs
import torch
from torch import nn

import anyteacher
from anyteacher import IMAGENET, load_student
from anyteacher.data.digits import DigitsData
from anyteacher.errors import ExportError, MissingExtraError
from anyteacher.experiment import Experiment
from anyteacher.export import formats
from anyteacher.export.command import alone
from anyteacher.export.formats import FORMATS, Order
from anyteacher.hints import known_classes
from anyteacher.models import ConvNet, EncoderDecoder
from anyteacher.normalization import ImageNorm
from anyteacher.readout import Classes
from anyteacher.student import DESCRIPTION, Student
from anyteacher.tasks import (
    Classification,
    CycleGAN,
    Depth,
    Edges,
    Extractor,
    MultiLabel,
    Normals,
    Segmentation,
    Task,
    Translation,
)
from anyteacher.teachers import Random

TASKS = {
    "depth": Depth(max_depth=10),
    "segmentation": Segmentation(5),
    "normals": Normals(),
    "edges": Edges(),
    "translation": Translation(),
    "unpaired": CycleGAN(nn.Conv2d(3, 3, 1), Extractor(Random, "")),
    "classification": Classification(4),
    "multi-label": MultiLabel(4),
}
SIZE = (32, 48)


def model_of(task):
    if task.kind == "global":
        path, own = "ConvNet", {"classes": task.out_channels, "in_channels": 3, "widths": [4, 8]}
        model = ConvNet(**own)
    else:
        path, own = "EncoderDecoder", {"out_channels": task.out_channels, "width": 4}
        model = EncoderDecoder(**own)
        nn.init.normal_(model.head.weight, std=1.0)
    return model, {"class_path": f"anyteacher.models.{path}", "init_args": own}


def student_of(task, model=None, settings=None):
    if model is None:
        model, settings = model_of(task)
    made = Experiment(task, model, DigitsData(), images_norm=IMAGENET)
    return alone(made, {"student": settings, "task": {}}, (3, *SIZE))


def expected(task, model, images):
    """By the task and the model as in training; labels instead of their probabilities."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET.mean, IMAGENET.std))
    with torch.no_grad():
        return task.prediction(model.eval()((images - mean) / std), images.shape[-2:])


def close(final, prediction):
    if prediction.dtype == torch.int64:
        # Where two classes are alike, rounding decides.
        assert (final.argmax(1) == prediction).float().mean() > 0.999
    else:
        assert final.shape == prediction.shape
        assert (final - prediction).abs().max() < 1e-4 * prediction.abs().max()


@pytest.fixture(params=TASKS)
def task(request):
    return TASKS[request.param]


SHAPES = [(1, 3, 32, 48), (2, 3, 32, 48), (5, 3, 61, 40), (1, 3, 80, 112)]


def run_onnx(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["output"], {"image": images.numpy()})[0])


READERS = {
    "safetensors": load_student,
    "torch": lambda path: torch.export.load(path).module(),
    "onnx": run_onnx,
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_task_in_every_format_at_any_size(task, name, tmp_path):
    student = student_of(task)
    written = FORMATS[name](Order(student, tmp_path, 3, SIZE))
    assert [path.name for path in tmp_path.iterdir()] == [written.path.name]
    assert written.difference < 1e-4
    assert written.why == ""
    if name != "safetensors":
        assert written.takes == "any number of images of any size"
    run = READERS[name](written.path)
    for shape in SHAPES:
        images = torch.rand(shape)
        with torch.no_grad():
            close(run(images), expected(task, student.model, images))


@pytest.mark.parametrize("name", FORMATS)
def test_a_student_that_shares_weights_in_every_format(name, tmp_path):
    settings = {"class_path": "runs.Tied", "init_args": {}}
    made = Experiment(Classification(10), runs.Tied(), DigitsData())
    student = alone(made, {"student": settings, "task": {}}, (1, 8, 8))
    written = FORMATS[name](Order(student, tmp_path, 1, (8, 8)))
    images = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        close(
            READERS[name](written.path)(images), made.task.prediction(student.model(images), SIZE)
        )


def test_every_task_is_tested_and_on_the_page():
    names = {cls.__name__ for cls in known_classes(Task)}
    assert {type(task).__name__ for task in TASKS.values()} == names
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
    assert all(f"`{name}`" in page for name in names)


def test_what_is_said_of_a_student():
    depth = student_of(TASKS["depth"]).description
    assert depth["norm"] == {"mean": IMAGENET.mean, "std": IMAGENET.std}
    assert depth["output"] == "depth in metres, (batch, 1, height, width)"
    assert "RGB in [0, 1]; they are normalised inside" in depth["input"]
    assert depth["trained_on"] == [32, 48]
    assert depth["made_with"]["torch"] == str(torch.__version__)
    assert "classes" not in depth
    classes = student_of(TASKS["segmentation"]).description
    assert classes["classes"] == 5
    assert classes["palette"][:2] == ["e69f00", "56b4e9"]
    assert len(classes["palette"]) == 5
    assert student_of(TASKS["multi-label"]).description["classes"] == 4


@pytest.fixture(scope="module")
def edges(tmp_path_factory):
    """A student, and its file in each format."""
    student, folder = student_of(TASKS["edges"]), tmp_path_factory.mktemp("edges")
    order = Order(student, folder, 3, SIZE, check=False)
    return student, {name: write(order).path for name, write in FORMATS.items()}


@pytest.mark.parametrize("name", FORMATS)
def test_each_file_says_what_it_is(name, edges):
    student, paths = edges
    if name == "onnx":
        said = {entry.key: entry.value for entry in onnx.load(paths[name]).metadata_props}
    elif name == "torch":
        said = {DESCRIPTION: ""}
        torch.export.load(paths[name], extra_files=said)
    else:
        said = {DESCRIPTION: json.dumps(load_student(paths[name]).description)}
    of_shape = {} if name == "safetensors" else {"shape": ["batch", 3, "height", "width"]}
    expected = json.loads(json.dumps({**student.description, **of_shape}))
    assert json.loads(said[DESCRIPTION]) == expected


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_of_this_machine_is_in_a_file(name, edges):
    content = edges[1][name].read_bytes()
    for file in (anyteacher.__file__, torch.__file__):
        assert str(Path(file).parent).encode() not in content
    assert re.search(rb"\.student\.[0-9a-f]{16}", content) is None


def test_the_axes_of_onnx_have_names(edges):
    session = onnxruntime.InferenceSession(edges[1]["onnx"], providers=["CPUExecutionProvider"])
    (image,), (output,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.shape) == ("image", ["batch", 3, "height", "width"])
    assert (output.name, output.shape) == ("output", ["batch", 1, "height", "width"])


@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_a_residual_network_of_torchvision(name, tmp_path):
    torchvision = pytest.importorskip("torchvision")
    task, settings = Classification(5), {"class_path": "torchvision.models.resnet18"}
    student = student_of(task, torchvision.models.resnet18(num_classes=5), settings)
    written = FORMATS[name](Order(student, tmp_path, 3, (64, 96)))
    assert written.takes == "any number of images of any size"
    images = torch.rand(3, 3, 70, 41)
    with torch.no_grad():
        close(READERS[name](written.path)(images), expected(task, student.model, images))


def test_a_grid_of_one_position_keeps_its_size_and_that_is_said(tmp_path):
    """Strides of 32 leave one row of 32, which a graph takes for one for ever."""
    torchvision = pytest.importorskip("torchvision")
    student = student_of(TASKS["classification"], torchvision.models.resnet18(num_classes=4), {})
    written = FORMATS["torch"](Order(student, tmp_path, 3, SIZE))
    assert written.takes == "any number of images of 32 x 48"
    assert written.why.startswith("Guard failed: image.size()[2]")


@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_a_transformer_with_fixed_positions_keeps_its_size_and_that_is_said(name, tmp_path):
    timm = pytest.importorskip("timm")
    own = {"img_size": SIZE, "depth": 1, "num_classes": 4, "embed_dim": 24, "num_heads": 2}
    model = timm.models.VisionTransformer(patch_size=16, **own)
    student = student_of(TASKS["classification"], model, {"class_path": "timm"})
    written = FORMATS[name](Order(student, tmp_path, 3, SIZE))
    assert written.takes == "any number of images of 32 x 48"
    assert written.why.startswith("images of 45 x 55 (")
    images = torch.rand(3, 3, *SIZE)
    with torch.no_grad():
        close(
            READERS[name](written.path)(images),
            expected(TASKS["classification"], student.model, images),
        )


class Strided(nn.Module):
    """Adds to its input what it has seen of it at a quarter of its size."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 1, 4, stride=4), nn.Upsample(scale_factor=4)

    def forward(self, x):
        return x.mean(1, keepdim=True) + self.up(self.down(x))


@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_a_network_with_strides_takes_multiples_and_that_is_said(name, tmp_path):
    student = student_of(TASKS["depth"], Strided(), {"class_path": "net.Strided"})
    written = FORMATS[name](Order(student, tmp_path, 3, SIZE))
    assert written.takes == "any number of images of any size, both sides multiples of 16"
    assert written.why.startswith("images of 45 x 55 (")
    images = torch.rand(3, 3, 64, 80)
    with torch.no_grad():
        close(READERS[name](written.path)(images), expected(TASKS["depth"], student.model, images))


class Net(nn.Module):
    """A classifier that is not the same where it is traced."""

    def __init__(self, how):
        super().__init__()
        self.how, self.head = how, nn.Linear(3, 2)

    def forward(self, x):
        logits = self.head(x.mean((2, 3)))
        if self.how == "wrong" and torch.compiler.is_compiling():
            return logits + torch.tensor([1.0, 0.0])
        if self.how == "branch" and x.sum() > 3:
            return logits * 2
        if self.how == "loop":
            return torch.cat([logits[i : i + 1] for i in range(len(logits))])
        return logits


def strange(how):
    return Student(Net(how), norm=ImageNorm(), readout=Classes(), description={})


@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_what_differs_is_refused_and_leaves_no_file(name, tmp_path):
    with pytest.raises(ExportError, match=r"differs from the student by 0\.\d+ of the range"):
        FORMATS[name](Order(strange("wrong"), tmp_path, 3, SIZE))
    assert list(tmp_path.iterdir()) == []
    written = FORMATS[name](Order(strange("wrong"), tmp_path, 3, SIZE, check=False))
    assert written.difference is None
    assert written.path.is_file()


@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_what_cannot_be_traced_is_said(name, tmp_path):
    with pytest.raises(ExportError, match="cannot be exported: "):
        FORMATS[name](Order(strange("branch"), tmp_path, 3, SIZE))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_a_graph_that_fixes_the_number_of_images_is_said(name, tmp_path):
    written = FORMATS[name](Order(strange("loop"), tmp_path, 3, SIZE))
    assert written.takes == "one image of 32 x 48"
    assert written.why


def test_a_student_that_its_settings_do_not_give_is_refused(tmp_path):
    model, settings = model_of(TASKS["depth"])
    model.head.register_forward_hook(lambda module, args, output: output + 1)
    student = student_of(TASKS["depth"], model, settings)
    with pytest.raises(ExportError, match="differs from the student"):
        FORMATS["safetensors"](Order(student, tmp_path, 3, SIZE))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_without_the_extra(missing, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    with pytest.raises(MissingExtraError, match=rf"needs {missing}.*'anyteacher\[export\]'"):
        formats.onnx(Order(strange(""), tmp_path, 3, SIZE))


def test_a_runtime_that_cannot_read_the_file(tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(onnxruntime, "InferenceSession", broken)
    with pytest.raises(ExportError, match=r"cannot be run \(no such operator\)"):
        formats.onnx(Order(strange(""), tmp_path, 3, SIZE))
    assert list(tmp_path.iterdir()) == []
