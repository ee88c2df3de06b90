"""One depth student of the demonstration, trained as `anyteacher fit` trains."""

import math
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anyteacher.data import RoomsData, RoomsDataset
from anyteacher.data.rooms import CLASSES
from anyteacher.demo.outcome import Run
from anyteacher.demo.plan import Arm, Study
from anyteacher.distillation import Distillation
from anyteacher.experiment import (
    CURVES,
    STUDENT,
    Experiment,
    evaluate,
    fit,
    seed_all,
)
from anyteacher.link import Link
from anyteacher.logs import read_curves
from anyteacher.models import EncoderDecoder
from anyteacher.optimization import Optimization
from anyteacher.seeding import forked
from anyteacher.tasks import Depth
from anyteacher.teacher import Teacher
from anyteacher.teachers import Random

BATCH_SIZE = 16
SHOWN = 4  # test scenes in the pictures
_SEGMENTER_WIDTH = 20  # as large as weights below 2 MB allow


def _segmenter_model() -> EncoderDecoder:
    return EncoderDecoder(len(CLASSES), width=_SEGMENTER_WIDTH)


def segmenter() -> Teacher:
    """The segmentation teacher that the package ships; `rooms-segmentation.yaml` made it."""
    weights = files("anyteacher.demo") / "rooms-segmentation.safetensors"
    with forked():  # else the student made after it would start from other weights than alone
        model = _segmenter_model()
    return Teacher(model, weights=Path(str(weights)))


def experiment(study: Study, arm: Arm, seed: int) -> Experiment:
    """The experiment of one arm and seed; torch is to be seeded before."""
    teacher: Teacher | None = None
    if arm.teacher == "segmentation":
        teacher = segmenter()
    elif arm.teacher == "random":
        teacher = Random(_segmenter_model, seed=seed)
    link = Link(
        "encoder.3",
        "encoder.3",
        direction=arm.direction,
        weight=arm.weight,
        compare=arm.compare,
        teacher_norm="batch",
    )
    return Experiment(
        task=Depth(),
        student=EncoderDecoder(1, bias=math.log(3)),
        data=RoomsData(
            train_size=study.train_size,
            val_size=study.val_size,
            test_size=study.test_size,
            targets=("depth",),
            batch_size=BATCH_SIZE,
            seed=seed,
        ),
        teacher=teacher,
        distillation=Distillation([] if teacher is None else [link]),
        optimization=Optimization(lr=2e-3),
    )


def run_depth(study: Study, arm: Arm, seed: int) -> Run:
    """Trains, and tests with the weights that were best on the validation data."""
    seed_all(seed)
    made = experiment(study, arm, seed)
    epochs = max(1, study.steps * BATCH_SIZE // study.train_size)
    options: dict[str, Any] = {"accelerator": "cpu", "num_sanity_val_steps": 0}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.monotonic()
        fit(
            made,
            folder,
            progress=False,
            tensorboard=False,
            trainer={
                **options,
                "max_epochs": epochs,
                # Ten looks at the validation data, from which the best weights are kept.
                "check_val_every_n_epoch": max(1, epochs // 10),
            },
        )
        seconds = time.monotonic() - start
        metrics = evaluate(made, folder / STUDENT, progress=False, trainer=options)
        curve = read_curves(folder / CURVES)[f"val/{study.metric}"]
    images, _ = shown(study, seed)
    with torch.no_grad():
        output = made.student.eval()(images)
    predictions = made.task.prediction(output, (images.shape[2], images.shape[3]))
    return Run(metrics, curve, seconds, predictions)


def shown(study: Study, seed: int) -> tuple[Tensor, Tensor]:
    """Images and depths of the test scenes in the pictures."""
    scenes = RoomsDataset("test", min(SHOWN, study.test_size), targets=("depth",), seed=seed)
    batch = scenes.__getitems__(list(range(len(scenes)))).batch
    return batch["image"], batch["depth"]
