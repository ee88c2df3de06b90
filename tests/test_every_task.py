"""Every task in either direction: fit, validate, test, predict, as small as it can be."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import runs
from PIL import Image
from torch import nn

from anyteacher import Link, cli, tasks
from anyteacher.data import DigitsData, RoomsData
from anyteacher.data.loading import DataModule
from anyteacher.data.rooms import TARGETS
from anyteacher.distillation import Distillation
from anyteacher.experiment import CURVES, STUDENT, Experiment, evaluate, fit, seed_all
from anyteacher.hints import known_classes
from anyteacher.logs import read_curves
from anyteacher.models import ConvNet, EncoderDecoder
from anyteacher.predict import predict_folder
from anyteacher.tasks import Task
from anyteacher.teachers import Random

TRAINER = {**runs.TRAINER, "max_epochs": 1}


@dataclass
class Row:
    make: Callable[[], Task]
    files: tuple[str, ...]  # what a prediction leaves, after the name of the photo
    digits: bool = False  # rooms have no single class
    targets: tuple[str, ...] = TARGETS


def looks() -> Random:
    """A network to measure sets of pictures by."""
    return Random(lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))


TABLE = {
    "depth": Row(tasks.Depth, ("_depth.png", "_depth_color.png")),
    "segmentation": Row(
        lambda: tasks.Segmentation(7, dice=0.5), ("_classes.png", "_classes_color.png")
    ),
    "normals": Row(tasks.Normals, ("_normals.png",)),
    "edges": Row(tasks.Edges, ("_edges.png",)),
    "translation": Row(lambda: tasks.Translation("relit"), ("_translated.png",)),
    "cyclegan": Row(
        lambda: tasks.CycleGAN(
            EncoderDecoder(3, width=4),
            tasks.Extractor(looks, "1"),
            tasks.Adversarial(width=4, layers=2),
        ),
        ("_translated.png",),
        targets=("unpaired",),
    ),
    "multilabel": Row(lambda: tasks.MultiLabel(4), (".json",)),
    "classification": Row(lambda: tasks.Classification(10, mixup=0.2), (".json",), digits=True),
}


def test_the_table_has_every_task() -> None:
    classes = {type(row.make()).__name__ for row in TABLE.values()}
    assert classes == {cls.__name__ for cls in known_classes(Task)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.jpg")
    Image.fromarray(pixels[:, :20, 0]).save(folder / "b.png")
    return folder


def data(row: Row, cache) -> DataModule:
    if row.digits:
        return DigitsData(batch_size=8, train_size=16)
    sizes = {"train_size": 16, "val_size": 8, "test_size": 8, "size": (32, 32)}
    return RoomsData(**sizes, targets=row.targets, batch_size=8, cache_dir=cache)


def student(task: Task, channels: int) -> nn.Module:
    if task.kind == "dense":
        return EncoderDecoder(task.out_channels, width=4)
    return ConvNet(task.out_channels, in_channels=channels, widths=(4, 8))


@pytest.mark.parametrize("direction", ["inverted", "traditional"])
@pytest.mark.parametrize("name", TABLE)
def test_it_fits_validates_tests_and_predicts(name, direction, cache, photos, tmp_path):
    row = TABLE[name]
    seed_all(0)
    task, channels = row.make(), 1 if row.digits else 3
    model = student(task, channels)
    tap = "encoder.1" if task.kind == "dense" else "stages.1"
    link = Link(tap, "stages.1", direction=direction, name="link")
    experiment = Experiment(
        task,
        model,
        data(row, cache),
        Random(lambda: ConvNet(5, in_channels=channels, widths=(6, 8)), seed=1),
        Distillation([link]),
    )
    module = fit(experiment, tmp_path, trainer=TRAINER, **runs.QUIET)
    curves = read_curves(tmp_path / CURVES)
    assert len(curves["train/link"]) == 2
    assert curves["train/link"][0][1] > 0
    for split in ("val", "test"):
        found = evaluate(
            experiment, tmp_path / STUDENT, split=split, progress=False, trainer=TRAINER
        )
        assert task.monitor in found
        assert all(math.isfinite(value) for value in found.values())
        if split == "val":  # the weights that were kept are those that were measured
            assert found[task.monitor] == pytest.approx(
                curves[f"val/{task.monitor}"][-1][1], rel=1e-5
            )
    output = tmp_path / "predictions"
    results = list(
        predict_folder(module, photos, output, channels=channels, resolution=32, step=32)
    )
    names = {path.name for result in results for path in result.files}
    assert names == {f"{photo}{end}" for photo in ("a_jpg", "b_png") for end in row.files}
    assert names == {path.name for path in output.iterdir()}
    for path in output.glob("a_jpg*.png"):
        with Image.open(path) as picture:
            assert picture.size == (41, 30)


OWN = '''
import torch.nn.functional as F

from anyteacher.tasks import Classification, Task


class Brightness(Task):
    """How bright an image is, in ten steps: one that the package does not have."""

    target, monitor, mode, kind = "label", "top1", "max", "global"

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__(10)
        self.scale, self.inner = scale, Classification(10)

    def prediction(self, output, size):
        return self.inner.prediction(output, size)

    def loss(self, output, batch):
        return self.scale * F.cross_entropy(self.check(output), self._steps(batch))

    def metrics(self):
        return self.inner.metrics()

    def update(self, metrics, output, batch):
        self.inner.update(metrics, output, {"label": self._steps(batch)})

    def draw(self, values, like=None):
        return self.inner.draw(values)

    def save(self, prediction, stem):
        return self.inner.save(prediction, stem)

    def _steps(self, batch):
        return (batch["image"].mean((1, 2, 3)) * 20).long().clamp(max=9)
'''


def test_a_task_of_ones_own_goes_by_its_import_path(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_tasks.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = Path(__file__).parent / "programs" / "digits.yaml"
    run = tmp_path / "run"
    task = {"class_path": "my_tasks.Brightness", "init_args": {"scale": 2.0}}
    assert cli.main(["fit", f"--config={config}", f"--task={task}", f"--output={run}"]) == 0
    assert cli.main(["test", str(run)]) == 0
    assert "Brightness" in capsys.readouterr().out
