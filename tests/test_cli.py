"""The command as a person uses it: what it says, and its exit status."""

import re
import subprocess
import sys

import pytest
import runs
from cli_flags import CONFIG
from PIL import Image

from anyteacher import __version__, cli
from anyteacher.experiment import STUDENT
from anyteacher.images import read_image


def test_fit_leaves_a_run_whose_configuration_gives_the_same_weights(call, run, tmp_path):
    status, out, _ = call("fit", f"--config={run / 'config.yaml'}", f"--output={tmp_path / 'b'}")
    assert status == 0
    assert "Best val/top1" in out
    assert (tmp_path / "b" / STUDENT).read_bytes() == (run / STUDENT).read_bytes()


def test_lightnings_callbacks_by_name(call, tmp_path):
    stop = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/top1"]
    stop += ["--trainer.callbacks.stopping_threshold=0.0", "--trainer.callbacks.mode=max"]
    assert call("fit", CONFIG, f"--output={tmp_path / 'run'}", *stop)[0] == 0
    assert runs.read(tmp_path / "run")["global_step"] == 5


def test_rooms_contact_sheet(call, tmp_path):
    path = tmp_path / "rooms.png"
    assert call("rooms", f"--show={path}", "--count=2", "--size", "16", "24")[0] == 0
    assert read_image(path).std() > 0.05


def test_help_and_version(call):
    assert call("--version") == (0, f"anyteacher {__version__}\n", "")
    status, out, _ = call()
    assert status == 0
    for command in cli.COMMANDS:
        assert f"  {command} " in out


def test_help_of_fit_names_what_can_be_chosen(capsys):
    with pytest.raises(SystemExit):
        cli.main(["fit", "--help"])
    out = capsys.readouterr().out
    assert "  tasks:        Classification, CycleGAN, Depth, Edges, MultiLabel, Normals" in out
    assert re.search(r"\n  losses:       .*\bMSE,", out)
    assert re.search(r"\n  projectors:   ABF, .*\bLinear,", out)
    assert re.search(r"\n  methods:      ab, at, .*\bfitnet, .*\bvkd\n", out)
    assert re.search(r"\n  regularizers: EffectiveRank, .*\bTrailingEnergy\n", out)
    losses = out.partition("losses:")[2].partition("regularizers:")[0].replace(",", " ").split()
    assert {"Cosine", "LogSum", "MSE"} <= set(losses)
    assert losses == sorted(losses)
    assert "torch.nn.Linear" not in out
    assert len(out.splitlines()) < 500


def test_the_overview_imports_no_more_than_the_core():
    code = (
        "import sys; from anyteacher.cli import main; main(['--help']);"
        "print([m for m in ('lightning', 'torchmetrics', 'jsonargparse') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_script_finds_models_in_the_current_folder(monkeypatch, tmp_path, capsys):
    (tmp_path / "my_models.py").write_text(
        "from torch import nn\n\ndef build(width):\n    return nn.Conv2d(3, width, 2, 2)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["anyteacher", "taps", "my_models.build(width=5)"])
    with pytest.raises(SystemExit) as end:
        cli.script()
    assert end.value.code == 0
    assert sys.path[0] == str(tmp_path)


def test_strategies_that_lose_the_projectors_are_refused(call, tmp_path):
    flags = ["--trainer.strategy=ddp_spawn", "--trainer.devices=2"]
    status, _, error = call("fit", CONFIG, f"--output={tmp_path / 'run'}", *flags)
    assert (status, "Use strategy 'ddp'" in error) == (2, True)


def test_a_trial_of_one_batch_leaves_no_error(call, tmp_path):
    flags = [f"--output={tmp_path / 'run'}", "--trainer.fast_dev_run=1"]
    status, out, _ = call("fit", CONFIG, *flags)
    assert (status, "nothing of it was kept" in out) == (0, True)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_name_with_a_colon_is_told_as_it_is(call, run, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "b:smile:[red].jpg").write_bytes(b"\xff\xd8")
    Image.new("L", (20, 30), 90).save(images / "ok.png")
    _, out, _ = call("predict", run, f"--images={images}", f"--output={tmp_path / 'o'}")
    assert "b:smile:[red].jpg" in out
