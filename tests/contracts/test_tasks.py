"""What every concrete task must do. A task that is not in the table fails the first test."""

import importlib
import inspect
import json
import pickle
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import anyteacher.tasks
from anyteacher.errors import ConfigError, DataError, NonFiniteError
from anyteacher.models import ConvNet
from anyteacher.tasks import (
    Adversarial,
    Classification,
    CycleGAN,
    Depth,
    Edges,
    Extractor,
    MultiLabel,
    Normals,
    Segmentation,
    Task,
    Translation,
)
from anyteacher.teacher import Teacher

SIZE = (12, 20)  # height differs from width
BATCH = 3


@dataclass
class Row:
    make: Callable[[], Task]
    target: Callable[[], Tensor]
    nothing: Callable[[Tensor], Tensor | None]  # a target with nothing to measure, if there is one
    shape: tuple[int, ...]  # of the prediction, after the batch
    dtype: torch.dtype
    in_units: Callable[[Tensor], bool]  # every number of a prediction is one
    best: Callable[[Tensor], Tensor]  # the output that gives a target exactly
    paired: bool = True  # a target is what the output of its image should be


def one_hot(labels: Tensor, classes: int) -> Tensor:
    codes = F.one_hot(labels, classes).float() * 20
    return codes.movedim(-1, 1)


class LookAt(Teacher):
    """A network that sets of pictures are measured by."""

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            super().__init__(ConvNet(5, in_channels=3, widths=(4,)))


TABLE = {
    Depth: Row(
        make=Depth,
        target=lambda: 1 + 5 * torch.rand(BATCH, 1, *SIZE),
        nothing=torch.zeros_like,
        shape=(1, *SIZE),
        dtype=torch.float32,
        in_units=lambda x: bool(((x >= 0.1) & (x <= 20)).all()),
        best=lambda target: target.log(),
    ),
    Segmentation: Row(
        make=lambda: Segmentation(7),
        target=lambda: torch.randint(0, 7, (BATCH, *SIZE)),
        nothing=lambda target: torch.full_like(target, 255),
        shape=SIZE,
        dtype=torch.int64,
        in_units=lambda x: bool(((x >= 0) & (x < 7)).all()),
        best=lambda target: one_hot(target, 7),
    ),
    Classification: Row(
        make=lambda: Classification(10),
        target=lambda: torch.randint(0, 10, (BATCH,)),
        nothing=lambda target: None,
        shape=(10,),
        dtype=torch.float32,
        in_units=lambda x: torch.allclose(x.sum(-1), torch.ones(x.shape[:-1])),
        best=lambda target: one_hot(target, 10),
    ),
    MultiLabel: Row(
        make=lambda: MultiLabel(5),
        target=lambda: torch.tensor([[1.0, 0, 0, 1, 0], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0]]),
        nothing=lambda target: None,
        shape=(5,),
        dtype=torch.float32,
        in_units=lambda x: bool(((x >= 0) & (x <= 1)).all()),
        best=lambda target: 40 * target - 20,
    ),
    Normals: Row(
        make=Normals,
        target=lambda: F.normalize(torch.randn(BATCH, 3, *SIZE)),
        nothing=torch.zeros_like,
        shape=(3, *SIZE),
        dtype=torch.float32,
        in_units=lambda x: torch.allclose(x.norm(dim=1), torch.ones(BATCH, *SIZE)),
        best=lambda target: 2 * target,
    ),
    Edges: Row(
        make=Edges,
        target=lambda: torch.bernoulli(torch.full((BATCH, 1, *SIZE), 0.2)),
        nothing=lambda target: None,
        shape=(1, *SIZE),
        dtype=torch.float32,
        in_units=lambda x: bool(((x >= 0) & (x <= 1)).all()),
        best=lambda target: 40 * target - 20,
    ),
    Translation: Row(
        make=Translation,
        target=lambda: torch.rand(BATCH, 3, *SIZE),
        nothing=lambda target: torch.full_like(target, torch.nan),
        shape=(3, *SIZE),
        dtype=torch.float32,
        in_units=lambda x: bool(((x >= 0) & (x <= 1)).all()),
        best=lambda target: target,
    ),
    CycleGAN: Row(
        make=lambda: CycleGAN(
            nn.Conv2d(3, 3, 3, padding=1),
            Extractor(LookAt, "stages.0"),
            Adversarial(width=4, layers=1),
        ),
        target=lambda: torch.rand(BATCH, 3, *SIZE),
        nothing=lambda target: None,
        shape=(3, *SIZE),
        dtype=torch.float32,
        in_units=lambda x: bool(((x >= 0) & (x <= 1)).all()),
        best=torch.logit,
        paired=False,
    ),
}


def concrete_tasks() -> set[type[Task]]:
    for module in pkgutil.walk_packages(anyteacher.tasks.__path__, "anyteacher.tasks."):
        importlib.import_module(module.name)
    found, waiting = set(), [Task]
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        if not inspect.isabstract(cls) and cls.__module__.startswith("anyteacher."):
            found.add(cls)
    return found


def test_the_table_has_every_task() -> None:
    assert concrete_tasks() == set(TABLE)


@pytest.fixture(params=TABLE, ids=lambda cls: cls.__name__)
def row(request: pytest.FixtureRequest) -> Row:
    torch.manual_seed(0)
    return TABLE[request.param]


def output_of(task: Task, size: tuple[int, int] = SIZE) -> Tensor:
    shape = (BATCH, task.out_channels, *(size if task.kind == "dense" else ()))
    return torch.randn(shape).requires_grad_()


def test_is_final_and_exported(row: Row) -> None:
    cls = type(row.make())
    assert cls.__name__ in anyteacher.tasks.__all__
    assert not cls.__subclasses__()
    with pytest.raises(TypeError, match="abstract"):
        Task(1)


def test_loss_is_one_finite_number_with_a_gradient(row: Row) -> None:
    task = row.make()
    output = output_of(task)
    loss = task.loss(output, {task.target: row.target()})
    assert loss.shape == ()
    assert loss.isfinite()
    loss.backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    assert (output.grad != 0).any(dim=1).all()  # every pixel or image is learned from


def needs_pairs(row: Row) -> None:
    if not row.paired:
        pytest.skip("the target belongs to another image")


def test_loss_is_least_at_the_target(row: Row) -> None:
    needs_pairs(row)
    task, target = row.make(), row.target()
    batch = {task.target: target}
    best = row.best(target)
    assert 0 <= task.loss(best, batch) < 1e-6 < task.loss(torch.randn_like(best), batch)


def test_loss_of_a_batch_is_the_mean_over_its_images(row: Row) -> None:
    task, target = row.make(), row.target()
    if target.is_floating_point():
        target = target.double()
    output = output_of(task).double()
    parts = [task.loss(output[i : i + 1], {task.target: target[i : i + 1]}) for i in range(BATCH)]
    whole = task.loss(output, {task.target: target})
    exact = 1e-12 if whole.dtype == torch.float64 else 1e-6  # an adversary is in single precision
    torch.testing.assert_close(whole, torch.stack(parts).mean(), rtol=exact, atol=0)


def test_loss_without_anything_known_is_a_connected_zero(row: Row) -> None:
    task = row.make()
    target = row.nothing(row.target())
    if target is None:
        pytest.skip("every target of this task is known")
    output = output_of(task)
    loss = task.loss(output, {task.target: target})
    loss.backward()
    assert loss == 0
    assert output.grad is not None
    assert (output.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_loss_in_half_precision(row: Row, dtype: torch.dtype) -> None:
    task = row.make()
    batch = {task.target: row.target()}
    output = output_of(task).detach().to(dtype)
    loss = task.loss(output, batch)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, task.loss(output.float(), batch))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weight = torch.eye(task.out_channels, requires_grad=True)
        mixed = F.linear(output_of(task).movedim(1, -1), weight).movedim(-1, 1)
        assert mixed.dtype == torch.bfloat16
        loss = task.loss(mixed, batch)
    loss.backward()
    assert loss.isfinite()
    assert weight.grad is not None
    assert weight.grad.isfinite().all()


def test_prediction_shape_and_units(row: Row) -> None:
    task = row.make()
    prediction = task.prediction(10 * output_of(task).detach(), SIZE)
    assert prediction.shape == (BATCH, *row.shape)
    assert prediction.dtype == row.dtype
    assert row.in_units(prediction)


def test_the_readout_gives_the_prediction_or_the_probabilities_of_labels(row: Row) -> None:
    task = row.make()
    output = output_of(task, (6, 10))
    final, prediction = task.readout()(output, SIZE), task.prediction(output, SIZE)
    if not prediction.is_floating_point():
        torch.testing.assert_close(final.sum(1), torch.ones(BATCH, *SIZE))
        final = final.argmax(1)
    assert torch.equal(final, prediction)
    assert torch.equal(task(output, SIZE), prediction)


@pytest.mark.parametrize("size", [(3, 5), (5, 4), (24, 40), (1, 1)])
def test_output_of_another_resolution(row: Row, size: tuple[int, int]) -> None:
    task = row.make()
    batch = {task.target: row.target()}
    output = output_of(task, size)
    assert task.prediction(output, SIZE).shape == (BATCH, *row.shape)
    loss = task.loss(output, batch)
    loss.backward()
    assert loss.isfinite()
    metrics = task.metrics()
    task.update(metrics, output.detach(), batch)
    assert all(value.isfinite() for value in metrics.compute().values())


def test_metrics(row: Row) -> None:
    task, target = row.make(), row.target()
    metrics = task.metrics()
    assert task.metrics() is not metrics
    batch = {task.target: target}
    task.update(metrics, output_of(task).detach(), batch)
    random = metrics.compute()
    assert task.monitor in random
    assert all(value.ndim == 0 and value.isfinite() for value in random.values())
    metrics.reset()
    task.update(metrics, row.best(target), batch)
    best = metrics.compute()
    sign = 1 if task.mode == "min" else -1
    assert sign * best[task.monitor] < sign * random[task.monitor]
    ideal = 0.0 if task.mode == "min" else 1.0
    assert float(best[task.monitor]) == pytest.approx(ideal, abs=1e-6)
    prefixed = metrics.clone(prefix="val/").compute()
    assert f"val/{task.monitor}" in prefixed


def test_metrics_of_nothing_raise(row: Row) -> None:
    task, target = row.make(), row.target()
    metrics = task.metrics()
    nothing = row.nothing(target)
    batch = {task.target: target[:0] if nothing is None else nothing}
    output = output_of(task).detach()
    task.update(metrics, output[: len(batch[task.target])], batch)
    with pytest.raises(DataError, match="measure"):
        metrics.compute()


@pytest.mark.parametrize("odd", [torch.nan, torch.inf])
def test_outputs_that_are_no_numbers_are_not_measured(row: Row, odd: float) -> None:
    task = row.make()
    metrics, batch = task.metrics(), {task.target: row.target()}
    output = output_of(task).detach()
    for wrong in (torch.full_like(output, odd), torch.where(output > output.mean(), output, odd)):
        with pytest.raises(NonFiniteError, match=rf"Of the {output.numel()} .* not a number\. A"):
            task.update(metrics, wrong, batch)
    task.update(metrics, output, batch)
    assert all(value.isfinite() for value in metrics.compute().values())


def test_draw(row: Row) -> None:
    task, target = row.make(), row.target()
    prediction = task.prediction(output_of(task).detach(), SIZE)
    for values, like in [(prediction, None), (target, None), (prediction, target)]:
        pictures = task.draw(values, like)
        assert pictures.dtype == torch.uint8
        assert pictures.shape[:2] == (BATCH, 3)
        assert pictures.device.type == "cpu"
        if task.kind == "dense":
            assert pictures.shape[2:] == SIZE
        assert len(pictures.unique()) > 1
    same = task.draw(task.prediction(row.best(target), SIZE), target)
    drawn = task.draw(target)
    assert (same.float() - drawn.float()).abs().max() <= 1


def test_save_writes_files_that_can_be_read(row: Row, tmp_path) -> None:
    task = row.make()
    prediction = task.prediction(output_of(task).detach(), SIZE)[0]
    paths = task.save(prediction, tmp_path / "new folder" / "photo.1")
    assert sorted(paths) == sorted((tmp_path / "new folder").iterdir())
    for path in paths:
        assert path.name.startswith("photo.1")
        if path.suffix == ".json":
            assert json.loads(path.read_text())
        else:
            with Image.open(path) as picture:
                picture.load()
                assert picture.size == SIZE[::-1]


def test_pickles_and_has_no_state(row: Row) -> None:
    task = row.make()
    batch, output = {task.target: row.target()}, output_of(task)
    copy = pickle.loads(pickle.dumps(task))
    assert torch.equal(copy.loss(output, batch), task.loss(output, batch))
    assert pickle.loads(pickle.dumps(task.metrics())).keys() == task.metrics().keys()
    own = {f"back.{name}" for name in task.back.state_dict()} if type(task) is CycleGAN else set()
    assert task.state_dict().keys() == own


def test_missing_target_names_the_keys_there_are(row: Row) -> None:
    task = row.make()
    batch = {"image": torch.zeros(BATCH, 3, *SIZE)}
    output = output_of(task)
    with pytest.raises(DataError, match=f"'{task.target}'.*image"):
        task.loss(output, batch)
    with pytest.raises(DataError, match=f"'{task.target}'.*image"):
        task.update(task.metrics(), output, batch)


def test_targets_of_another_shape_are_not_broadcast(row: Row) -> None:
    task, target = row.make(), row.target()
    output = output_of(task)
    wrong = [target[0], target[None], target[..., None]]
    if target.ndim > 1:
        wrong.append(target[:, :1] if target.shape[1] > 1 else target.repeat(1, 2, 1, 1))
    for other in wrong:
        if other.ndim == target.ndim and task.target == "segmentation":
            continue  # that is a picture of one row
        message = rf"'{task.target}' must be \(batch.*, but is {re.escape(str(tuple(other.shape)))}"
        with pytest.raises(DataError, match=message):
            task.loss(output, {task.target: other})
        with pytest.raises(DataError, match=message):
            task.update(task.metrics(), output.detach(), {task.target: other})


def test_wrong_outputs_are_refused(row: Row) -> None:
    task = row.make()
    batch, output = {task.target: row.target()}, output_of(task)
    more = torch.cat([output, output[:, :1]], dim=1)
    axes = f"predicts for {'each pixel' if task.kind == 'dense' else 'the whole image'}"
    channels = f"{task.out_channels} output channels"
    for wrong, cure in ((more, channels), (output[0], axes), (output[None], axes)):
        with pytest.raises(ConfigError, match=cure):
            task.loss(wrong, batch)
        with pytest.raises(ConfigError, match=cure):
            task.prediction(wrong, SIZE)
    with pytest.raises(ConfigError, match="gave a dict"):
        task.loss({"out": output}, batch)  # type: ignore[arg-type]


def test_loss_compiles_in_one_graph(row: Row) -> None:
    task = row.make()
    batch, output = {task.target: row.target()}, output_of(task)
    compiled = torch.compile(task.loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(output, batch), task.loss(output, batch))
