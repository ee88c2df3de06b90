import importlib.util
import re
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import timm
import torch
import yaml
from jsonargparse import ArgumentParser
from safetensors.torch import save_file
from torch import nn

import anyteacher as at
from anyteacher import teachers
from anyteacher.models import EncoderDecoder
from anyteacher.parsers import make_parser
from anyteacher.taps import find_module
from anyteacher.teachers import kinds
from anyteacher.teachers.kinds import KINDS
from anyteacher.teachers.written import written_model

BY_NAME = {kind.name: kind for kind in KINDS}


def test_every_teacher_is_listed():
    public = {name for name in teachers.__all__ if isinstance(getattr(teachers, name), type)}
    assert set(BY_NAME) == public | {"Teacher"}
    assert len(BY_NAME) == len(KINDS)


def test_the_versions_that_are_installed(monkeypatch):
    assert BY_NAME["Timm"].version() == f"timm {timm.__version__}"
    assert BY_NAME["Exported"].version() == f"torch {torch.__version__}"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert BY_NAME["Timm"].version() == ""


def test_a_library_that_no_package_brought(monkeypatch):
    def unknown(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(kinds, "version", unknown)
    assert BY_NAME["Timm"].version() == "timm"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_command_takes_the_example(kind):
    parser, _ = make_parser("fit", "")
    student = "{class_path: anyteacher.models.EncoderDecoder, init_args: {out_channels: 1}}"
    given = yaml.safe_load(kind.example)
    settings = parser.parse_args(
        [
            "--task=Depth",
            f"--student={student}",
            "--data=RoomsData",
            f"--teacher={yaml.safe_dump(given['teacher'])}",
            f"--distillation.links={yaml.safe_dump(given['distillation']['links'])}",
        ]
    )
    (link,) = settings.distillation.links
    assert at.Link(link.student, link.teacher).teacher_taps == (
        at.Tap.parse(given["distillation"]["links"][0]["teacher"]),
    )
    assert settings.teacher.class_path.endswith(f".{kind.name}")


VIT = {
    "hidden_size": 12,
    "num_hidden_layers": 12,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
DEPTH = {
    "model_type": "depth_anything",
    "backbone_config": {
        "model_type": "dinov2",
        **VIT,
        "out_indices": [3, 6, 9, 12],
        "reshape_hidden_states": False,
    },
    "neck_hidden_sizes": [4, 4, 4, 4],
    "fusion_hidden_size": 4,
    "reassemble_hidden_size": 12,
}


class Stages(nn.Module):
    """Has the layer that an example taps."""

    def __init__(self):
        super().__init__()
        self.layer3 = nn.Conv2d(3, 8, 3, 8, 1)

    def forward(self, images):
        return (self.layer3(images),)


@pytest.fixture
def files(tmp_path):
    """What examples name, in the folder that is gone into."""
    dynamic = ({0: torch.export.Dim.AUTO},)
    images = torch.rand(2, 3, 64, 96)
    program = torch.export.export(Stages(), (images,), dynamic_shapes=dynamic)
    torch.export.save(program, tmp_path / "teacher.pt2")
    with pytest.warns(FutureWarning, match=r"torch\.jit"):
        torch.jit.save(torch.jit.trace(Stages().eval(), images), tmp_path / "teacher.pt")
    save_file(EncoderDecoder(out_channels=7).state_dict(), tmp_path / "teacher.safetensors")
    return tmp_path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_example_runs_and_has_its_tap(kind, files, monkeypatch):
    monkeypatch.chdir(files)
    given = yaml.safe_load(kind.example)
    if kind.extra:
        given["teacher"]["init_args"]["weights"] = "random"
    if kind.name == "Transformers":
        given["teacher"]["init_args"]["config"] = DEPTH
    parser = ArgumentParser()
    parser.add_argument("--teacher", type=at.Teacher)
    teacher = parser.instantiate(parser.parse_object({"teacher": given["teacher"]})).teacher
    (link,) = given["distillation"]["links"]
    student = EncoderDecoder(1, width=4)
    images = torch.rand(2, 3, 64, 96)
    if not teacher.calibrated:
        teacher.calibrate([images])
    out = at.Distiller(student, teacher, [at.Link(**link)], example=images)(images)
    assert out.total > 0


@pytest.mark.parametrize("kind", ["Timm", "Torchvision", "SegmentationModels"])
@pytest.mark.parametrize(
    "given",
    [
        ["--teacher.settings.drop_rate=0.1", "--teacher.settings.depth=3"],
        ['--teacher.settings={"drop_rate": 0.1, "depth": 3}'],
    ],
)
def test_settings_are_given_one_by_one_or_whole(kind, given):
    parser, _ = make_parser("fit", "")
    student = ["--student=anyteacher.models.EncoderDecoder", "--student.out_channels=1"]
    teacher = [f"--teacher={kind}", "--teacher.name=any"]
    read = parser.parse_args(["--task=Depth", *student, "--data=RoomsData", *teacher, *given])
    assert read.teacher.init_args.settings == {"drop_rate": 0.1, "depth": 3}


def test_the_examples_of_the_page_are_those_that_run():
    page = (Path(__file__).parents[2] / "docs" / "teachers.md").read_text()
    (example,) = re.findall(r"init_args: (\{name: vit.*\})", page)
    assert example in BY_NAME["Timm"].example


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("timm:vit_tiny_patch16_224", "blocks.11"),
        ("timm:convnext_atto", "stages.2"),
        ("timm:resnet10t", "layer3"),
        ("torchvision:swin_t", "features.5"),
        ("smp:unet:resnet18", "encoder.layer3"),
        ("smp:unet:resnet18", "decoder.blocks.0"),
    ],
)
def test_the_usual_taps_exist(model, path):
    kind = {"timm": "Timm", "torchvision": "Torchvision", "smp": "SegmentationModels"}
    assert path in BY_NAME[kind[model.partition(":")[0]]].taps
    assert find_module(written_model(model).model, path)
