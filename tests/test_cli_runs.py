"""Runs of the command that are measured, predicted with, interrupted and gone on with."""

import json
import shutil
import sys

import pytest
import runs
import yaml
from cli_flags import CONFIG, link
from PIL import Image

from anyteacher.experiment import STUDENT
from anyteacher.results import read_result


def test_a_run_is_not_overwritten_but_resumed_when_asked(call, run):
    before = (run / STUDENT).read_bytes()
    status, _, error = call("fit", CONFIG, f"--output={run}")
    assert (status, "holds a run already" in error) == (2, True)
    assert call("fit", CONFIG, f"--output={run}", "--resume")[0] == 0
    assert (run / STUDENT).read_bytes() == before


@pytest.mark.parametrize("command", ["test", "validate"])
def test_metrics_of_a_run(call, run, command):
    status, out, _ = call(command, run)
    assert status == 0
    assert "top1" in out
    assert "top5" in out


def test_metrics_are_left_in_the_run_with_the_weights_that_they_are_of(call, run):
    weights = run / STUDENT
    for command, split in (("test", "test"), ("validate", "val")):
        path = run / f"{split}.json"
        path.unlink(missing_ok=True)
        _, out, _ = call(command, run, "--trainer.accelerator=cpu", "--threads=1")
        kept = read_result(run, split, weights)
        assert set(kept) == {"top1", "top5"}
        assert all(f"{value:.4f}" in out for value in kept.values())
        assert "Not kept" not in out
        path.unlink()


@pytest.mark.parametrize(
    ("flag", "what"),
    [
        ("--weights={run}/checkpoints/last.ckpt", "other weights."),
        ("--data.batch_size=9", "other data."),
        ("--images_norm.mean=[0.5]", "other images_norm."),
    ],
)
def test_metrics_of_something_else_are_not_left_in_the_run(call, run, flag, what):
    (run / "test.json").unlink(missing_ok=True)
    status, out, _ = call("test", run, flag.format(run=run))
    assert status == 0
    assert f"Not kept in the run, which has {what}" in out
    assert not (run / "test.json").exists()


def test_a_run_is_tested_without_its_teacher(call, run, tmp_path):
    folder = tmp_path / "moved"
    run.rename(folder)
    teacher = "--teacher=anyteacher.Teacher", "--teacher.model=torch.nn.Identity"
    weights = "--teacher.weights=gone.pt"
    try:
        assert call("test", folder, *teacher, weights)[0] == 0
    finally:
        folder.rename(run)


def test_predictions(call, run, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    Image.new("L", (20, 30), 90).save(images / "ok.png")
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    status, out, _ = call("predict", run, f"--images={images}", f"--output={tmp_path / 'o'}")
    assert status == 1
    assert "1 images predicted" in out
    assert "broken.jpg" in out
    assert len(json.loads((tmp_path / "o" / "ok_png.json").read_text())["top"]) == 5
    (images / "ok.png").unlink()
    status, _, error = call("predict", run, f"--images={images}", f"--output={tmp_path / 'p'}")
    assert (status, "could be read" in error) == (2, True)
    status, _, error = call("predict", run, f"--images={tmp_path / 'none'}")
    assert (status, "no folder or image" in error) == (2, True)


def test_a_null_in_place_of_a_default_stays_in_the_run(call, tmp_path):
    """An smp model without pretrained weights, whose default is to download some."""
    path = tmp_path / "unet.yaml"
    unet = "segmentation_models_pytorch.Unet"
    settings = "{encoder_name: resnet18, encoder_weights: null, encoder_depth: 3, classes: 7, "
    settings += "decoder_channels: [8, 8, 8]}"
    path.write_text(
        f"task: {{class_path: Segmentation, init_args: {{classes: 7}}}}\n"
        f"student: {{class_path: {unet}, init_args: {settings}}}\n"
        "data: {class_path: RoomsData, init_args: {train_size: 4, val_size: 2, test_size: 2, "
        "size: [16, 24], targets: [segmentation], batch_size: 2}}\n"
        "trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false}\n"
    )
    folder = tmp_path / "run"
    assert call("fit", f"--config={path}", f"--output={folder}")[0] == 0
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["student"]["init_args"]["encoder_weights"] is None
    status, out, _ = call("test", folder)
    assert status == 0
    assert "miou" in out.lower()


def test_a_resumed_run_keeps_its_own_settings(call, tmp_path):
    folder = tmp_path / "run"
    flags = ["--optimization.lr=0.03", "--trainer.max_epochs=1"]
    assert call("fit", CONFIG, f"--output={folder}", *flags)[0] == 0
    # Without a file of settings, and with the one it was started from: flags alone count.
    for config in ([], [CONFIG]):
        status, out, _ = call("fit", *config, f"--output={folder}", "--resume")
        assert (status, "nothing left to train" in out) == (0, True)
    assert call("fit", f"--output={folder}", "--resume", "--trainer.max_epochs=2")[0] == 0
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert (saved["optimization"]["lr"], saved["trainer"]["max_epochs"]) == (0.03, 2)
    whole = tmp_path / "whole"
    assert call("fit", CONFIG, f"--output={whole}", flags[0], "--trainer.max_epochs=2")[0] == 0
    # The schedule of the learning rate knew of one epoch only: the steps of the first agree not,
    # but the run went on where it was.
    assert runs.read(folder)["global_step"] == runs.read(whole)["global_step"] == 10


def test_a_resumed_run_that_does_not_fit_stays_as_it_was(call, tmp_path):
    folder = tmp_path / "run"
    assert call("fit", CONFIG, f"--output={folder}")[0] == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for changed, what in {
        "--student.init_args.widths=[4,12]": "student.init_args.widths[1] from 8 to 12",
        "--seed=77": "seed from",
        "--distillation.weight=7": "distillation.weight from 1.0 to 7.0",
    }.items():
        flags = [f"--output={folder}", "--resume", changed, "--trainer.max_epochs=9"]
        status, _, error = call("fit", *flags)
        assert status == 2
        assert len(error.strip().splitlines()) == 1
        assert f"was trained with other settings: {what}" in error
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        assert files == before
    assert call("test", folder)[0] == 0


def test_nothing_to_go_on_with_is_said(call, tmp_path):
    status, out, _ = call(
        "fit", CONFIG, f"--output={tmp_path / 'new'}", "--resume", "--trainer.max_epochs=1"
    )
    assert status == 0
    assert "There is no run in" in out
    assert "a new one begins" in out


def test_an_interrupted_fit_names_what_goes_on(call, monkeypatch, tmp_path):
    def interrupted(*args, **kwargs):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)  # as Lightning does

    monkeypatch.setattr("lightning.pytorch.Trainer.fit", interrupted)
    status, _, error = call("fit", CONFIG, f"--output={tmp_path / 'run'}")
    assert status == 130
    assert error == "anyteacher fit: interrupted. The same command with --resume goes on.\n"


@pytest.mark.parametrize(
    ("action", "go_on"), [("run", " The same command goes on."), ("claims", "")]
)
def test_an_interrupted_benchmark_goes_on_with_the_same_command(call, monkeypatch, action, go_on):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("anyteacher.parsers.call", interrupted)
    status, _, error = call("bench", action)
    assert (status, error) == (130, f"anyteacher bench: interrupted.{go_on}\n")


def test_a_checkpoint_that_cannot_be_gone_on_from_says_why(call, tmp_path):
    folder = tmp_path / "run"
    assert call("fit", CONFIG, f"--output={folder}")[0] == 0
    fewer = [f"--output={folder}", "--resume", "--trainer.max_epochs=1"]
    status, _, error = call("fit", *fewer)
    assert (status, len(error.splitlines()), "cannot be gone on from" in error) == (2, 1, True)
    last = folder / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-500])
    status, _, error = call("fit", f"--output={folder}", "--resume")
    assert (status, len(error.splitlines())) == (2, 1)
    assert "is damaged" in error
    assert "best.ckpt" in error


def test_a_run_that_stopped_early_is_complete(call, tmp_path):
    stop = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/top1"]
    stop += ["--trainer.callbacks.stopping_threshold=0.0", "--trainer.callbacks.mode=max"]
    folder = tmp_path / "run"
    assert call("fit", CONFIG, f"--output={folder}", *stop)[0] == 0
    before = (folder / STUDENT).read_bytes()
    status, out, _ = call("fit", f"--output={folder}", "--resume")
    assert (status, "nothing left to train" in out) == (0, True)
    assert runs.read(folder)["global_step"] == 5
    assert (folder / STUDENT).read_bytes() == before


FEW = {"projector": "ClosedForm", "compare": "pooled"}


def test_a_run_that_failed_at_its_first_step_is_started_again_as_it_is_told(call, tmp_path):
    """No circle: what one command says to do, the next does."""
    folder = tmp_path / "run"
    small = [link(**FEW), "--data.batch_size=2", "--data.train_size=2"]
    status, _, error = call("fit", CONFIG, f"--output={folder}", *small)
    assert (status, "ClosedForm" in error) == (2, True)
    advice = f"again with `anyteacher fit --config {folder}/config.yaml --output {folder}`"
    one = f"--images={tmp_path}"
    for arguments in (["test"], ["predict", one], ["export"], ["analyze"], ["fit", "--resume"]):
        command, *flags = arguments
        where = f"--output={folder}" if command == "fit" else folder
        status, _, error = call(command, where, *flags)
        assert (status, len(error.splitlines())) == (2, 1)
        assert "It stopped before its first checkpoint; start it " + advice in error
    again = advice.split("`")[1].split()[1:]
    status, _, error = call(*again)
    assert (status, "ClosedForm" in error) == (2, True)
    assert call(*again, "--data.train_size=80", "--data.batch_size=16")[0] == 0
    assert call("test", folder)[0] == 0


def test_a_run_that_was_interrupted_goes_on(call, run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / STUDENT).unlink()
    status, _, error = call("test", folder)
    assert (status, len(error.splitlines())) == (2, 1)
    assert f"no {STUDENT}. Go on with `anyteacher fit --resume --output {folder}`" in error
    assert call("fit", "--resume", f"--output={folder}")[0] == 0
    assert (folder / STUDENT).read_bytes() == (run / STUDENT).read_bytes()
