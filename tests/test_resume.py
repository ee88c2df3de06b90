"""A run that is killed goes on to the very weights that it would have reached."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import runs
import torch
from lightning.pytorch.callbacks import Callback

from anyteacher.experiment import CURVES, STUDENT, fit
from anyteacher.logs import read_curves

PROGRAM = Path(__file__).parent / "programs" / "killed.py"
TOTAL = runs.EPOCHS * runs.STEPS


class Photographer(Callback):
    """Copies the run's folder at every moment at which a kill could find it different."""

    def __init__(self, run, album):
        self.run, self.album, self.names = run, album, []

    def _take(self, name, trainer):
        if not trainer.sanity_checking and (self.run / "checkpoints" / "last.ckpt").exists():
            self.names.append(f"{len(self.names)}-{name}-{trainer.global_step}")
            shutil.copytree(self.run, self.album / self.names[-1])

    def on_train_batch_start(self, trainer, module, batch, index):
        self._take("step", trainer)

    def on_validation_start(self, trainer, module):
        self._take("before-validation", trainer)

    def on_validation_end(self, trainer, module):
        self._take("after-validation", trainer)


def curves(folder):
    """What was logged, but for the time that was waited for data."""
    return {k: v for k, v in read_curves(folder / CURVES).items() if not k.startswith("time/")}


def equal(folder, reference):
    """Asserts that two finished runs hold the same."""
    checkpoint = runs.read(folder)
    assert checkpoint["global_step"] == reference["last"]["global_step"]
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "current_model_state"):
        assert runs.differences(checkpoint.get(key), reference["last"].get(key), key) == []
    assert curves(folder) == reference["curves"]
    assert (folder / STUDENT).read_bytes() == reference["student"]


def finished(folder):
    return {
        "last": runs.read(folder),
        "curves": curves(folder),
        "student": (folder / STUDENT).read_bytes(),
    }


CASES = {
    "dropout": ({"dropout": 0.3}, 2, {}),
    "ema": ({"dropout": 0.3, "ema": 0.9}, 3, {}),
    "at the end of an epoch": ({}, 5, {}),
    "every epoch": ({"ema": 0.5}, 0, {}),
    "a number of steps": ({"dropout": 0.3}, 2, {"max_epochs": -1, "max_steps": 12}),
    "fewer steps than epochs": ({}, 0, {"max_steps": 12}),
    "accumulation": ({"dropout": 0.3}, 1, {"accumulate_grad_batches": 2}),
    "validation within epochs": ({}, 1, {"val_check_interval": 2}),
    "validation by steps": (
        {},
        2,
        {"check_val_every_n_epoch": None, "val_check_interval": 4, "max_steps": 15},
    ),
}


@pytest.mark.parametrize(("settings", "every", "trainer"), CASES.values(), ids=CASES)
def test_every_moment_resumes_to_the_same_weights(tmp_path, settings, every, trainer):
    run, album = tmp_path / "run", tmp_path / "album"
    camera = Photographer(run, album)
    trainer = {**runs.TRAINER, **trainer}
    options = {"checkpoint_every": every, "trainer": trainer, **runs.QUIET}
    fit(runs.experiment(**settings), run, callbacks=(camera,), **options)
    reference = finished(run)
    total = trainer.get("max_steps", TOTAL)
    if "accumulate_grad_batches" in trainer:
        total = runs.EPOCHS * -(-runs.STEPS // trainer["accumulate_grad_batches"])
    assert reference["last"]["global_step"] == total
    assert len(camera.names) >= total - max(every, runs.STEPS)
    for name in camera.names:
        shutil.rmtree(run)
        shutil.copytree(album / name, run)
        # Another seed outside: what is random comes from the checkpoint alone.
        resumed = runs.experiment(**settings)
        random.seed(1)
        fit(resumed, run, resume=True, **options)
        equal(run, reference)


def test_a_finished_run_resumes_to_itself(tmp_path):
    options = {"trainer": runs.TRAINER, **runs.QUIET}
    fit(runs.experiment(), tmp_path, **options)
    reference = finished(tmp_path)
    fit(runs.experiment(), tmp_path, resume=True, **options)
    equal(tmp_path, reference)


def test_sigkill_at_three_random_points(tmp_path):
    draw = random.Random(8)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = {"checkpoint_every": 2, "trainer": runs.TRAINER, **runs.QUIET}
    fit(runs.experiment(dropout=0.2), whole, **options)
    # The delay lets the kill fall inside the step, its logging or its checkpoint.
    points = [
        f"{step}:{draw.uniform(0, 0.01)}" for step in sorted(draw.sample(range(2, TOTAL - 1), 3))
    ]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(killed), *points],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.split() == [str(-signal.SIGKILL)] * 3, done.stderr
    assert not (killed / STUDENT).exists()
    assert 2 <= runs.read(killed)["global_step"] < TOTAL
    fit(runs.experiment(dropout=0.2), killed, resume=True, **options)
    equal(killed, finished(whole))


def test_a_checkpoint_from_before_tasks_had_an_entry_goes_on(tmp_path):
    whole, older = tmp_path / "whole", tmp_path / "older"
    options = {"trainer": runs.TRAINER, **runs.QUIET}
    camera = Photographer(whole, tmp_path / "album")
    fit(runs.experiment(), whole, callbacks=(camera,), **options)
    shutil.copytree(tmp_path / "album" / camera.names[0], older)
    checkpoint = runs.read(older)
    assert checkpoint.pop("task") == {}
    torch.save(checkpoint, older / "checkpoints" / "last.ckpt")
    fit(runs.experiment(), older, resume=True, **options)
    equal(older, finished(whole))
