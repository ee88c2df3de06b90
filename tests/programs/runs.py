"""Small runs that several tests share: digits, a tiny student, a random teacher with batch norm."""

from pathlib import Path

import torch
from torch import Tensor, nn

from anyteacher import Link
from anyteacher.data import DigitsData
from anyteacher.distillation import Distillation
from anyteacher.experiment import Experiment, seed_all
from anyteacher.models import ConvNet
from anyteacher.optimization import Optimization
from anyteacher.tasks import Classification
from anyteacher.teachers import Random

QUIET = {"progress": False, "tensorboard": False}
EPOCHS, STEPS = 3, 5  # five steps an epoch
TRAINER = {"max_epochs": EPOCHS, "log_every_n_steps": 1, "accelerator": "cpu", "devices": 1}


def experiment(*, ema=0.0, dropout=0.0, weight=1.0, seed=3, lr=1e-2, **optimization) -> Experiment:
    """A run of fifteen steps; the same arguments give the same one."""
    seed_all(seed)
    student = ConvNet(10, widths=(4, 8))
    if dropout:
        student.head = nn.Sequential(nn.Dropout(dropout), student.head)
    link = Link("stages.1", "stages.1", warmup=7)
    return Experiment(
        Classification(10),
        student,
        DigitsData(batch_size=16, train_size=80),
        Random(lambda: ConvNet(5, widths=(6, 8)), seed=1),
        Distillation([link], weight=weight),
        Optimization(lr=lr, ema=ema, **optimization),
    )


class Tied(nn.Module):
    """A student of which two layers share their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = (nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(2))
        self.again.weight = self.first.weight
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of ten classes, of digits."""
        logits: Tensor = self.head(self.again(self.first(images)).flatten(1))
        return logits


def read(folder: Path, name: str = "last.ckpt") -> dict:
    """A checkpoint of a run."""
    return torch.load(folder / "checkpoints" / name, weights_only=True)


def differences(a: object, b: object, path: str = "") -> list[str]:
    """Where two nested values differ; tensors bit for bit."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [path]
    if isinstance(a, dict) and isinstance(b, dict):
        missing = [f"{path}/{key}" for key in a.keys() ^ b.keys()]
        return missing + [
            d for k in a.keys() & b.keys() for d in differences(a[k], b[k], f"{path}/{k}")
        ]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [
            d
            for i, (x, y) in enumerate(zip(a, b, strict=True))
            for d in differences(x, y, f"{path}/{i}")
        ]
    return [] if a == b else [path]
