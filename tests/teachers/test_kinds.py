import importlib.util
from importlib.metadata import PackageNotFoundError

import pytest
import timm
import torch
import yaml

import anyteacher as at
from anyteacher import teachers
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
