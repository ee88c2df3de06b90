"""Whether reading pictures holds training back: JPEG files of 500 x 375, seen at 224 x 224.

    python -m benchmarks.loading            # about two minutes
    python -m benchmarks.loading --quick    # half a minute, rough

Generated rooms with the noise of a camera are written as JPEG files in folders by class; they come
out at about 80 KB, where ImageNet's have 110 on average. Then: how many a second a loader gives
alone, and what share of its time a ResNet-18 waits that trains on them (`time/waiting` of the last
epoch).
"""

import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

from anyteacher.data import ImageNetData
from anyteacher.data.rooms import RoomsDataset
from anyteacher.errors import require
from anyteacher.experiment import CURVES, Experiment, fit, seed_all
from anyteacher.logs import read_curves
from anyteacher.report import Table
from anyteacher.tasks import Classification
from benchmarks.command import run
from benchmarks.timing import Settings

CLASSES, BATCH = 4, 32


def write_pictures(root: Path, count: int) -> int:
    """Writes so many to train and a few to validate; gives the mean size of a file in bytes."""
    scenes = RoomsDataset("train", min(count, 64), (96, 128), targets=["presence"])
    generator = torch.Generator().manual_seed(0)
    total = 0
    for place in range(count + CLASSES):
        image = scenes[place % len(scenes)]["image"][None]
        image = F.interpolate(image, (375, 500), mode="bilinear")[0]
        noisy = image + 0.045 * torch.randn(image.shape, generator=generator)
        pixels = (noisy.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
        part = "train" if place < count else "val"
        path = root / part / f"n{place % CLASSES}" / f"{place}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=92)
        total += path.stat().st_size
    return total // (count + CLASSES)


def made(root: Path, workers: int) -> ImageNetData:
    """The data with the augmentation of ImageNet."""
    return ImageNetData(root, CLASSES, batch_size=BATCH, num_workers=workers)


def alone(root: Path, workers: int) -> float:
    """Images a second of one pass, its start left out."""
    data = made(root, workers)
    data.setup("fit")
    batches = iter(data.train_dataloader())
    next(batches)
    start, count = time.perf_counter(), 0
    for batch in batches:
        count += len(batch["image"])
    return count / (time.perf_counter() - start)


def waiting(root: Path, workers: int, folder: Path) -> float:
    """The share of the second epoch's time that a ResNet-18 waits for its data."""
    seed_all(0)
    student = require("torchvision").models.resnet18(num_classes=CLASSES)
    experiment = Experiment(Classification(CLASSES), student, made(root, workers))
    trainer = {"max_epochs": 2, "limit_val_batches": 0, "accelerator": "auto", "devices": 1}
    fit(experiment, folder, progress=False, tensorboard=False, trainer=trainer)
    return read_curves(folder / CURVES)["time/waiting"][-1][1]


def measure(settings: Settings, parts: list[str]) -> list[Table]:
    """The table."""
    del parts
    count = max(3, round(settings.seconds)) * BATCH
    rows: list[list[str | float]] = []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        size = write_pictures(root / "pictures", count)
        for workers in (0, 1, 2):
            speed = alone(root / "pictures", workers)
            share = waiting(root / "pictures", workers, root / f"run-{workers}")
            rows.append([workers, f"{speed:.0f}", f"{100 * share:.1f} %"])
    return [
        Table(
            columns=["workers", "images a second, alone", "waiting in training"],
            rows=rows,
            caption=f"{count} JPEG files of 500 x 375, {size // 1000} KB on average, at 224 x 224",
            note=f"ResNet-18, batch {BATCH}, PyTorch with as many threads as was set.",
        )
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints the table, and writes it if asked."""
    run(arguments, __doc__, ["loading"], measure)


if __name__ == "__main__":
    main()
