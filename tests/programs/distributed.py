"""Two processes, then one with the whole batch: `distributed.py FOLDER`.

The two are forks of this process, started as `torchrun` would start them; one pays the imports.
"""

import os
import socket
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Subset

from anyteacher import Link
from anyteacher.data import DigitsData
from anyteacher.distillation import Distillation
from anyteacher.experiment import Experiment, fit, seed_all
from anyteacher.models import ConvNet
from anyteacher.optimization import Optimization
from anyteacher.projectors import MLP, ClosedForm
from anyteacher.tasks import Classification
from anyteacher.teachers import Random

BATCH = 12


def student():
    """Without batch normalisation, whose statistics are each process's own."""
    convolution = nn.Conv2d(1, 6, 3, stride=2, padding=1)
    return nn.Sequential(convolution, nn.Tanh(), nn.Flatten(), nn.Linear(96, 10))


class OddDigits(DigitsData):
    """An odd number of images to validate on: two processes cannot have as many each."""

    def setup(self, stage):
        super().setup(stage)
        if stage in ("fit", "validate"):
            self.val = Subset(self.val, range(199))


def run(folder, processes):
    seed_all(5)
    links = [
        Link("0", "stages.1", warmup=5),
        Link("1", "stages.0", direction="traditional", projector=MLP(), compare="pooled"),
        Link("1", "stages.1", weight=0.0, name="idle"),
        Link("1", "stages.0", projector=ClosedForm(bias=True), name="closed form"),
    ]
    experiment = Experiment(
        Classification(10),
        student(),
        OddDigits(batch_size=BATCH // processes, train_size=60),
        Random(lambda: ConvNet(5, widths=(4, 8)), seed=1),
        Distillation(links),
        Optimization(lr=1e-2, clip=0.5),
    )
    trainer = {
        "accelerator": "cpu",
        "devices": processes,
        "strategy": "ddp" if processes > 1 else "auto",
        "max_epochs": 2,
        "precision": "64-true",
        "log_every_n_steps": 1,
        "check_val_every_n_epoch": 2,
    }
    fit(experiment, folder, progress=False, tensorboard=False, trainer=trainer)


def fork(folder, processes):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), NODE_RANK="0")
    children = []
    for rank in range(processes):
        child = os.fork()
        if child == 0:
            os.environ["LOCAL_RANK"] = str(rank)
            run(folder, processes)
            os._exit(0)
        children.append(child)
    if any(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children):
        raise SystemExit(1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    fork(Path(sys.argv[1]) / "2", 2)
    run(Path(sys.argv[1]) / "1", 1)
