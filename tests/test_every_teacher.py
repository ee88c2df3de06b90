"""Teachers of every library through the command, as a configuration has them."""

import json
import shutil

import pytest
import timm
import torch
import yaml

from anyteacher import cli
from anyteacher.errors import require
from anyteacher.experiment import CURVES
from anyteacher.logs import read_curves
from anyteacher.models import EncoderDecoder
from anyteacher.teachers import kinds

VIT = {
    "model_type": "vit",
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "image_size": 48,
    "patch_size": 8,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Rooms that are drawn once, and teachers on disk."""
    folder = tmp_path_factory.mktemp("teachers")
    model = timm.create_model("resnet10t").eval()
    require("safetensors.torch").save_file(model.state_dict(), folder / "resnet.safetensors")
    net = EncoderDecoder(7, width=4).eval()
    torch.save(net.state_dict(), folder / "rooms.pt")
    dynamic = ({0: torch.export.Dim.AUTO},)
    program = torch.export.export(net, (torch.rand(2, 3, 32, 32),), dynamic_shapes=dynamic)
    torch.export.save(program, folder / "rooms.pt2")
    with pytest.warns(FutureWarning, match=r"torch\.jit"):
        torch.jit.save(torch.jit.trace(net, torch.rand(2, 3, 32, 32)), folder / "script.pt")
    return folder


@pytest.fixture
def fit(files, tmp_path, capsys):
    """Trains a depth student; gives what was printed, and the curves."""

    def run(teacher, *links, **distillation):
        settings = {
            "task": "Depth",
            "student": {
                "class_path": "anyteacher.models.EncoderDecoder",
                "init_args": {"out_channels": 1, "width": 4},
            },
            "data": {
                "class_path": "RoomsData",
                "init_args": {
                    "train_size": 8,
                    "val_size": 4,
                    "test_size": 4,
                    "size": [48, 48],
                    "targets": ["depth"],
                    "batch_size": 4,
                    "cache_dir": str(files / "cache"),
                },
            },
            "teacher": teacher,
            "distillation": {"links": list(links), **distillation},
            "trainer": {
                "max_epochs": 1,
                "enable_progress_bar": False,
                "accelerator": "cpu",
                "log_every_n_steps": 1,
            },
        }
        path, folder = tmp_path / "config.yaml", tmp_path / "run"
        path.write_text(yaml.safe_dump(settings, sort_keys=False))
        capsys.readouterr()
        status = cli.main(["fit", f"--config={path}", f"--output={folder}"])
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return printed.out, read_curves(folder / CURVES), folder

    return run


def named(kind, **init_args):
    return {"class_path": f"anyteacher.teachers.{kind}", "init_args": init_args}


def test_two_teachers_with_their_own_inputs_taps_and_weights(fit, files):
    """And both see 8 pixels more on every side than the student."""
    teachers = {
        "tokens": named("Transformers", name="any", weights="random", config=VIT),
        "stages": named(
            "Timm",
            name="resnet10t",
            weights=str(files / "resnet.safetensors"),
            norm={"mean": [0.5], "std": [0.25]},
            size=[64, 64],
            settings={"drop_rate": 0.1, "pretrained_cfg_overlay": {"crop_pct": 0.9}},
        ),
    }
    out, curves, folder = fit(
        teachers,
        {"student": "encoder.1", "teacher": "layers.1", "of": "tokens", "name": "a"},
        {"student": "encoder.2", "teacher": "layer2", "of": "stages", "name": "b"},
        margin=8,
    )
    lines = out.splitlines()
    assert lines[0].startswith("tokens: ViTModel, ")
    assert lines[0].endswith(
        "images resized to 48 x 48, normalised by mean (0.485, 0.456, 0.406) and std (0.229, "
        "0.224, 0.225), RGB."
    )
    assert lines[1].startswith("stages: ResNet, ")
    assert lines[1].endswith(
        "images resized to 64 x 64 (trained at 176 x 176), normalised by mean (0.5) and std "
        "(0.25), RGB."
    )
    assert all(value > 0 for name in ("a", "b") for _, value in curves[f"train/{name}"])
    # It is validated, and predicts, on images as large as the data's.
    assert json.loads((folder / "run.json").read_text())["image"] == [3, 48, 48]


CASES = {
    "torchvision": (
        named("Torchvision", name="mnasnet0_5", weights="random"),
        "layers.9",
        "teacher: MNASNet, 2,218,512 parameters with random weights (seed 0); "
        "images of their own size (trained at 224 x 224)",
    ),
    "smp": (
        named(
            "SegmentationModels",
            name="fpn",
            encoder="mobilenet_v2",
            weights="random",
            size=[64, 64],
        ),
        "decoder.p5",
        "teacher: FPN, ",
    ),
    "exported": (
        lambda folder: named("Exported", path=f"{folder}/rooms.pt2"),
        "encoder.2",
        "teacher: program of torch.export, ",
    ),
    "torchscript": (
        lambda folder: named("TorchScript", path=f"{folder}/script.pt"),
        "output",
        "teacher: EncoderDecoder of TorchScript, ",
    ),
    "import path": (
        lambda folder: {
            "class_path": "anyteacher.Teacher",
            "init_args": {
                "model": {
                    "class_path": "anyteacher.models.EncoderDecoder",
                    "init_args": {"out_channels": 7, "width": 4},
                },
                "weights": f"{folder}/rooms.pt",
            },
        },
        "encoder.3",
        "teacher: EncoderDecoder, ",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_teacher_of_each_kind(name, fit, files):
    teacher, tap, line = CASES[name]
    out, curves, _ = fit(
        teacher(files) if callable(teacher) else teacher,
        {"student": "encoder.2", "teacher": tap, "compare": "pooled", "name": "link"},
    )
    assert out.startswith(line)
    assert all(value > 0 for _, value in curves["train/link"])


def test_an_exported_student_is_the_next_ones_teacher(fit, files):
    *_, folder = fit(None)
    assert cli.main(["export", str(folder), "--format", "torch"]) == 0
    first = shutil.move(folder, folder.with_name("first"))
    path = f"{first}/export/student.pt2"
    teacher = named("Exported", path=path, norm={"mean": [0.0], "std": [1.0]})
    out, curves, _ = fit(
        teacher, {"student": "encoder.2", "teacher": "model.encoder.2", "name": "link"}
    )
    assert "normalised by mean (0) and std (1)" in out
    assert all(value > 0 for _, value in curves["train/link"])


def test_a_margin_that_leaves_nothing(capsys, tmp_path, files):
    link = [{"student": "encoder.2", "teacher": "encoder.2"}]
    model = {"class_path": "anyteacher.models.EncoderDecoder", "init_args": {"out_channels": 1}}
    teacher = {"class_path": "anyteacher.Teacher", "init_args": {"model": model}}
    arguments = [
        "--task=Depth",
        f"--student={json.dumps(model)}",
        "--data=RoomsData",
        "--data.size=[48,48]",
        "--data.train_size=4",
        "--data.val_size=4",
        "--data.test_size=4",
        f"--data.cache_dir={files / 'cache'}",
        f"--teacher={json.dumps(teacher)}",
        f"--distillation.links={json.dumps(link)}",
        "--trainer.accelerator=cpu",
        f"--output={tmp_path / 'run'}",
    ]
    assert cli.main(["fit", *arguments, "--distillation.margin=24"]) == 2
    assert "A margin of 24 pixels on each side leaves nothing of images of 48 x 48" in (
        capsys.readouterr().err
    )
    assert cli.main(["fit", *arguments, "--distillation.margin=-1"]) == 2
    assert "A margin is a number of pixels, 0 or more, got -1" in capsys.readouterr().err


def test_the_command_lists_the_kinds_and_examples(capsys, monkeypatch):
    assert cli.main(["teachers"]) == 0
    out = capsys.readouterr().out
    assert f"timm {timm.__version__}" in out
    assert "class_path: anyteacher.teachers.Timm" in out
    monkeypatch.setattr(kinds.importlib.util, "find_spec", lambda name: None)
    assert cli.main(["teachers"]) == 0
    out = capsys.readouterr().out
    assert "no: pip install 'anyteacher[timm]'" in out
    assert "class_path: anyteacher.teachers.Timm" not in out
    assert "class_path: anyteacher.teachers.Random" in out
    assert cli.main(["teachers", "--all"]) == 0
    assert "class_path: anyteacher.teachers.Timm" in capsys.readouterr().out


def test_what_a_model_refuses_is_told_in_a_line(capsys):
    assert (
        cli.main(["taps", "anyteacher.models.EncoderDecoder(out_channels=1)", "--channels=4"]) == 2
    )
    error = capsys.readouterr().err
    assert "anyteacher taps: EncoderDecoder cannot take images of shape (2, 4, 224, 224)" in error
    assert "Its first convolution takes 3 channels, not 4" in error
    assert error.count("\n") == 1
