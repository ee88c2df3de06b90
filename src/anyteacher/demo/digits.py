"""One digits student of the demonstration, in a training loop of a user's own.

The depth students are trained by the command's machinery; these show that the library needs none.
"""

import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyteacher.data import DigitsDataset
from anyteacher.demo.outcome import Run
from anyteacher.demo.plan import Arm, Study
from anyteacher.distiller import Distiller
from anyteacher.link import Link
from anyteacher.models import ConvNet
from anyteacher.seeding import forked
from anyteacher.teachers import Random

TEACHER_WIDTHS = (32, 64, 256)


def run_digits(study: Study, arm: Arm, seed: int) -> Run:
    """Trains on every labelled image at each step, and tests with the last weights."""
    images, labels = _tensors(DigitsDataset("train", study.train_size, seed))
    with forked(seed):
        student = ConvNet(10)
    distiller = Distiller(student, {}, [])
    if arm.teacher == "random":
        teacher = Random(lambda: ConvNet(10, widths=TEACHER_WIDTHS), seed=seed)
        link = Link(
            "stages.2",
            "stages.2",
            direction=arm.direction,
            weight=arm.weight,
            compare=arm.compare,
            teacher_norm="batch",
        )
        distiller = Distiller(
            student, teacher.calibrate([images]), [link], example=images, seed=seed
        )
    optimizer = torch.optim.AdamW(distiller.trainable_parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, study.steps)
    val_images, val_labels = _tensors(DigitsDataset("val"))
    test_images, test_labels = _tensors(DigitsDataset("test"))
    curve, start = [], time.monotonic()
    for index in range(study.steps):
        output = distiller(images)
        loss = F.cross_entropy(output.prediction, labels) + output.total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (index + 1) % max(1, study.steps // 10) == 0 or index == study.steps - 1:
            curve.append((index, _accuracy(student, val_images, val_labels)))
    seconds = time.monotonic() - start
    metrics = {"top1": _accuracy(student, test_images, test_labels)}
    return Run(metrics, curve, seconds, torch.empty(0))


def _tensors(dataset: DigitsDataset) -> tuple[Tensor, Tensor]:
    batch = dataset.__getitems__(list(range(len(dataset)))).batch
    return batch["image"], batch["label"]


@torch.no_grad()
def _accuracy(student: nn.Module, images: Tensor, labels: Tensor) -> float:
    student.eval()
    right = (student(images).argmax(1) == labels).float().mean()
    student.train()
    return float(right)
