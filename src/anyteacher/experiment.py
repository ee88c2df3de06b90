"""A whole run: train, keep the best, evaluate, and go on after an interruption."""

import json
import logging
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn

from anyteacher.checkpoints import BEST, Average, Checkpoints
from anyteacher.data.loading import DataModule
from anyteacher.distillation import Distillation
from anyteacher.errors import ConfigError, require
from anyteacher.images import replacing
from anyteacher.logs import Begin, Clock, CurveLogger, Waiting
from anyteacher.normalization import ImageNorm
from anyteacher.optimization import Optimization
from anyteacher.tasks.base import Task
from anyteacher.teacher import Teacher
from anyteacher.training import TrainingModule
from anyteacher.unfinished import last_checkpoint
from anyteacher.weights import load_weights, weights_of

CONFIG, INFO, STUDENT, CURVES = "config.yaml", "run.json", "student.safetensors", "curves.csv"
_HARDWARE = ("accelerator", "devices", "num_nodes", "strategy", "precision")


@dataclass
class Experiment:
    """Everything that decides what a student learns.

    Args:
        task: What the student learns.
        student: Any module that takes images and gives `task.out_channels` channels.
        data: Where the images and targets come from.
        teacher: A teacher, several by name, or none.
        distillation: What is distilled from them.
        optimization: How the student and the projectors are optimised.
        images_norm: How images in [0, 1] are normalised before the student sees them; None for
            what is usual with the data.
    """

    task: Task
    student: nn.Module
    data: DataModule
    teacher: Teacher | dict[str, Teacher] | None = None
    distillation: Distillation = field(default_factory=Distillation)
    optimization: Optimization = field(default_factory=Optimization)
    images_norm: ImageNorm | None = None

    def teachers(self) -> dict[str, Teacher]:
        """The teachers by name; a single one is named `teacher`."""
        given = self.teacher
        return {"teacher": given} if isinstance(given, Teacher) else dict(given or {})

    def module(self) -> TrainingModule:
        """The experiment as a LightningModule."""
        links = self.distillation.resolved()
        teachers = self.teachers()
        taught = [link for link in links if link.teacher_taps]
        if taught and not teachers:
            raise ConfigError(
                f"There are links to a teacher ({len(taught)}) and there is no teacher. Give one "
                "as `teacher`, or leave them out of `distillation.links`."
            )
        return TrainingModule(
            self.task,
            self.student,
            teachers=teachers,
            links=links,
            optimization=self.optimization,
            images_norm=self.images_norm or self.data.facts().norm,
            observe_every=self.distillation.observe_every,
            margin=self.distillation.margin,
        )


def fit(
    experiment: Experiment,
    folder: Path,
    *,
    resume: bool = False,
    checkpoint_every: int = 0,
    callbacks: tuple[Callback, ...] = (),
    progress: bool = True,
    tensorboard: bool = True,
    trainer: Mapping[str, Any] | None = None,
) -> TrainingModule:
    """Trains a student; leaves its best and last checkpoint, its logs and its weights in a folder.

    The folder then has `checkpoints/best.ckpt` (by the task's metric on the validation data),
    `checkpoints/last.ckpt`, `curves.csv`, `tensorboard/`, and `student.safetensors`: the best
    student's weights under its own names, with no trace of the teacher.

    Args:
        experiment: What is trained.
        folder: Where to; made if need be.
        resume: Go on from `last.ckpt` where there is one.
        checkpoint_every: Training steps between two writings of `last.ckpt`; 0 for every epoch.
        callbacks: Further callbacks of Lightning.
        progress: Whether to show a progress bar.
        tensorboard: Whether to log for TensorBoard beside the CSV.
        trainer: Arguments of Lightning's `Trainer`, such as `max_epochs` or `devices`.

    Returns:
        The module, its student with the weights that were best on the validation data, and
        without any hooks.

    Raises:
        ConfigError: when the folder holds a run already and is not to be resumed, or the data does
            not fit the task.
    """
    last = last_checkpoint(folder)
    check_new(folder, resume=resume)
    experiment.task.check_data(experiment.data.facts())
    start = last if resume and last.exists() else None
    # What an attempt without a checkpoint left there is no part of this run.
    afresh = [folder / CURVES, last.with_name(BEST)] if start is None else []
    options = dict(trainer or {})
    task, decay = experiment.task, experiment.optimization.ema
    logged = tensorboard and not options.get("fast_dev_run")  # a trial has no loggers
    loggers: list[Any] = [CurveLogger(folder / CURVES)]
    if tensorboard:
        loggers.append(TensorBoardLogger(folder, name="tensorboard", version=""))
    module, clock = experiment.module(), Clock()
    runner = make_trainer(
        **{
            **options,
            "logger": False,
            "enable_checkpointing": True,
            "default_root_dir": folder,
            "enable_progress_bar": progress,
            "callbacks": [
                *(options.get("callbacks") or ()),
                *callbacks,
                Begin(folder, loggers, afresh),
                Waiting(),
                clock,
                *([Average(decay=decay)] if decay else []),
                Checkpoints(
                    last.parent,
                    monitor=f"val/{task.monitor}",
                    mode=task.mode,
                    every=checkpoint_every,
                ),
                *([RichProgressBar()] if progress else []),
                *([LearningRateMonitor("step")] if logged else []),
            ],
        }
    )
    if isinstance(runner.strategy.launcher, _MultiProcessingLauncher):
        raise ConfigError(
            "The strategies ddp_spawn, ddp_fork and ddp_notebook train in processes that cannot "
            "give their projectors back. Use strategy 'ddp', from a script or the command."
        )
    try:
        _train(runner, module, experiment.data, start)
    finally:
        module.distiller.release()
    if runner.is_global_zero and not runner.fast_dev_run:
        best = last.with_name(BEST)
        save_student(experiment.student, best if best.exists() else last, folder)
        facts = {
            "image": list(experiment.data.train[0]["image"].shape),
            "step": runner.global_step,
            "seconds": clock.seconds,
        }
        with replacing(folder / INFO) as temporary:
            temporary.write_text(json.dumps(facts) + "\n")
    runner.strategy.barrier()
    return module


def _train(runner: Trainer, module: TrainingModule, data: DataModule, start: Path | None) -> None:
    """Trains, from a checkpoint if one is given; says in one line why it cannot be gone on from.

    Raises:
        ConfigError: then.
    """
    if start is not None and start.is_file() and not zipfile.is_zipfile(start):
        raise ConfigError(
            f"'{start}' is damaged, it may have been cut short. Put {BEST}, which lies beside it, "
            "in its place, or start another run (--output)."
        )
    try:
        runner.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
    except MisconfigurationException as error:
        if start is None:
            raise
        raise ConfigError(f"'{start}' cannot be gone on from: {error}") from error
    except RuntimeError as error:
        if "loading state_dict" not in str(error):
            raise
        raise ConfigError(
            f"'{start}' does not fit the student and links that the settings make "
            f"({' '.join(str(error).split())[:200]} …). Resume with the settings of the run, or "
            "start another one (--output)."
        ) from error


def finished_step(folder: Path) -> int | None:
    """The last step of the complete run in a folder, if there is one."""
    path = folder / INFO
    return int(json.loads(path.read_text())["step"]) if path.is_file() else None


def check_new(folder: Path, *, resume: bool) -> None:
    """Refuses a folder that holds a run which is not to be resumed.

    Raises:
        ConfigError: then.
    """
    if last_checkpoint(folder).exists() and not resume:
        raise ConfigError(
            f"'{folder}' holds a run already. Resume it (--resume), or choose another folder "
            "(--output)."
        )


def evaluate(
    experiment: Experiment,
    checkpoint: Path,
    *,
    split: str = "test",
    progress: bool = True,
    trainer: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """The task's metrics of a trained student on the validation (`val`) or `test` data.

    Args:
        experiment: What was trained; the teacher is not needed.
        checkpoint: A checkpoint, or the weights of the student alone.
        split: `val` or `test`.
        progress: Whether to show a progress bar.
        trainer: Arguments of Lightning's `Trainer`.

    Raises:
        TeacherError: when the file is not there, or belongs to another model.
        ConfigError: when the data does not fit the task.
    """
    experiment.task.check_data(experiment.data.facts())
    load_weights(experiment.student, checkpoint)
    alone = replace(experiment, teacher=None, distillation=Distillation())
    options = {**(trainer or {}), "logger": False, "enable_checkpointing": False}
    options["enable_progress_bar"] = progress
    runner = make_trainer(**options)
    run = runner.test if split == "test" else runner.validate
    results = run(alone.module(), datamodule=experiment.data, verbose=False)
    return {name.partition("/")[2]: float(value) for name, value in results[0].items()}


def save_student(student: nn.Module, checkpoint: Path, folder: Path) -> Path:
    """Writes the student of a checkpoint as `student.safetensors` and loads it into the student."""
    load_weights(student, checkpoint)
    path = folder / STUDENT
    with replacing(path) as temporary:
        # Bytes, and not its own file, which nobody but its owner could read.
        temporary.write_bytes(require("safetensors.torch").save(weights_of(student)))
    return path


def make_trainer(**options: Any) -> Trainer:
    """A Trainer that says what matters and leaves the rest out."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Advice that does not apply: the data are read from memory or a memory map, short runs are
    # meant, the metrics gather what all processes saw by themselves, and a folder that holds a run
    # is refused or resumed.
    for text in (
        ".*does not have many workers.*",
        ".*is smaller than the logging interval.*",
        ".*sync_dist=True.*",
        ".*exists and is not empty.*",
    ):
        warnings.filterwarnings("ignore", text)
    warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
    options.setdefault("enable_model_summary", False)
    try:
        return Trainer(**options)
    except MisconfigurationException as error:
        given = {name: options[name] for name in _HARDWARE if options.get(name) is not None}
        raise ConfigError(f"No trainer can be made with {given}: {error}") from error


def seed_all(seed: int) -> None:
    """Seeds Python, numpy and torch, in this process and the workers of its loaders."""
    seed_everything(seed, workers=True, verbose=False)


def set_threads(threads: int) -> None:
    """Limits the threads of torch on the CPU; 0 leaves them alone."""
    if threads:
        torch.set_num_threads(threads)
