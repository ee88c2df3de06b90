import copy

import layouts
import pytest
import runs
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from anyteacher import Link
from anyteacher.data import UnpairedData
from anyteacher.distillation import Distillation
from anyteacher.errors import ConfigError
from anyteacher.experiment import (
    CURVES,
    STUDENT,
    Experiment,
    evaluate,
    fit,
    seed_all,
)
from anyteacher.logs import read_curves
from anyteacher.models import ConvNet, EncoderDecoder
from anyteacher.optimization import Optimization
from anyteacher.predict import predict
from anyteacher.tasks import Adversarial, CycleGAN, Extractor
from anyteacher.teacher import Teacher
from anyteacher.teachers import Random

SMALL = Adversarial(width=4, layers=1, weight=0.05)
FID = "fid/ConvNet.stages.1"


def features() -> Teacher:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return Teacher(ConvNet(5, in_channels=3, widths=(4, 8)))


def task(**settings) -> CycleGAN:
    settings = {"adversarial": SMALL, **settings}
    back = EncoderDecoder(3, width=2)
    return CycleGAN(back, Extractor(features, "stages.1"), **settings)


def test_the_terms_equal_the_formula() -> None:
    cycle = task(identity=0.3, history=0)
    cycle.back = nn.Conv2d(3, 3, 1)
    student = nn.Conv2d(3, 3, 1)
    a, b = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    terms = cycle.terms(student(a), {"image": a, "unpaired": b}, student)

    def s(x):
        return student(x).sigmoid()

    def t(x):
        return cycle.back(x).sigmoid()

    def l1(x, y):
        return (x - y).abs().mean()

    first, second = (adversary.network for adversary in cycle.adversaries)
    judged = (first(2 * s(a) - 1) - 1).square().mean() + (second(2 * t(b) - 1) - 1).square().mean()
    expected = {
        "adversary": 0.05 * judged,
        "cycle": l1(t(s(a)), a) + l1(s(t(b)), b),
        "identity": 0.3 * (l1(s(b), b) + l1(t(a), a)),
    }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    assert task(identity=0).terms(student(a), {"image": a, "unpaired": b}, student).keys() == {
        "adversary",
        "cycle",
    }


def test_each_adversary_learns_its_own_kind() -> None:
    cycle = task(history=0)
    a, b = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    student = nn.Conv2d(3, 3, 1)
    twins = copy.deepcopy(cycle.adversaries)
    assert runs.differences(twins[0].network.state_dict(), twins[1].network.state_dict())
    made = cycle.prediction(student(a), (8, 8)), cycle.prediction(cycle.back(b), (8, 8))
    cycle.terms(student(a), {"image": a, "unpaired": b}, student)
    before = copy.deepcopy(cycle.adversaries[0].network.state_dict())
    cycle.stepped()
    assert runs.differences(cycle.adversaries[0].network.state_dict(), before)
    for twin, adversary, real, drawn in zip(twins, cycle.adversaries, (b, a), made, strict=True):
        twin.learn(real, drawn)
        twin.step()
        for name, value in twin.network.state_dict().items():
            torch.testing.assert_close(adversary.network.state_dict()[name], value)


@pytest.fixture
def root(tmp_path):
    return layouts.unpaired(tmp_path / "pictures")


def run(root, *, history=4, linked=True, batch_size=1, student=None, ema=0.0):
    """A short training on folders of pictures without pairs; the same arguments give the same."""
    seed_all(3)
    link = Link("encoder.1", "stages.1", name="link")
    return Experiment(
        task(history=history),
        student or EncoderDecoder(3, width=4),
        UnpairedData(root, size=(32, 32), batch_size=batch_size, num_workers=0),
        Random(lambda: ConvNet(5, in_channels=3, widths=(6, 8)), seed=1),
        Distillation([link] if linked else []),
        Optimization(ema=ema),
    )


class StopError(Exception):
    """Ends a run in its middle."""


class Stop(Callback):
    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == 5:
            raise StopError


def options(**trainer):
    settings = {**runs.TRAINER, "max_epochs": 3, **trainer}
    return {"trainer": settings, "checkpoint_every": 1, **runs.QUIET}


@pytest.mark.parametrize(
    ("trainer", "ema"),
    [({}, 0.0), ({"accumulate_grad_batches": 2}, 0.0), ({}, 0.9)],
    ids=["plain", "accumulated", "averaged"],
)
def test_all_of_it_learns_and_resumes_bit_for_bit(root, tmp_path, trainer, ema) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    start = run(root)
    module = fit(run(root, ema=ema), whole, **options(**trainer))
    with pytest.raises(StopError):
        fit(run(root, ema=ema), stopped, callbacks=(Stop(),), **options(**trainer))
    again = run(root, ema=ema)
    torch.manual_seed(9)  # what is random comes from the checkpoint
    fit(again, stopped, resume=True, **options(**trainer))
    ends = [runs.read(folder) for folder in (whole, stopped)]
    assert ends[0]["global_step"] == (6 if trainer else 9)
    for key in ("state_dict", "optimizer_states", "task", "current_model_state"):
        assert runs.differences(ends[0].get(key), ends[1].get(key), key) == []
    assert (whole / STUDENT).read_bytes() == (stopped / STUDENT).read_bytes()
    # The way back, both adversaries and both histories are not what they were.
    state, learned = ends[0]["state_dict"], ends[0]["task"]
    for name, value in start.task.back.named_parameters():
        assert not torch.equal(state[f"task.back.{name}"], value), name
    begun = start.task.checkpoint()
    for number in range(2):
        networks = [s["adversaries"][number]["network"] for s in (begun, learned)]
        assert runs.differences(*networks)
        assert learned["histories"][number].shape == (4, 3, 32, 32)
    assert module.student.state_dict().keys() == EncoderDecoder(3, width=4).state_dict().keys()
    curves = read_curves(whole / CURVES)
    assert {f"train/task/{name}" for name in ("adversary", "cycle", "identity")} <= curves.keys()
    assert len(curves["train/link"]) == ends[0]["global_step"]
    assert f"val/{FID}" in curves


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_validation_test_and_prediction(root, tmp_path, precision) -> None:
    experiment, settings = run(root), options(precision=precision)
    module = fit(experiment, tmp_path, **settings)
    found = {}
    for split in ("val", "test"):
        found[split] = evaluate(
            experiment, tmp_path / STUDENT, split=split, progress=False, trainer=settings["trainer"]
        )
        assert found[split].keys() == {FID, "kid/ConvNet.stages.1"}
    assert found["val"] == found["test"]  # the same pictures
    assert found["val"][FID] == pytest.approx(
        min(value for _, value in read_curves(tmp_path / CURVES)[f"val/{FID}"]), rel=0.05
    )
    picture = predict(module.float().eval(), torch.rand(3, 20, 27), 32, 32)
    assert picture.shape == (3, 20, 27)
    assert ((picture >= 0) & (picture <= 1)).all()


def test_accumulated_batches_are_one_large_batch(root, tmp_path) -> None:
    ends = []
    for batch_size, batches in [(2, 1), (1, 2)]:
        student = nn.Conv2d(3, 3, 3, padding=1)  # no statistics of a batch
        experiment = run(root, history=0, linked=False, batch_size=batch_size, student=student)
        experiment.task.back = nn.Conv2d(3, 3, 3, padding=1)
        with torch.no_grad():
            for parameter in (*student.parameters(), *experiment.task.back.parameters()):
                parameter.copy_(torch.linspace(-0.3, 0.3, parameter.numel()).view_as(parameter))
        trainer = {"accumulate_grad_batches": batches, "max_steps": 2, "limit_train_batches": 2}
        if batches == 1:
            trainer["limit_train_batches"] = 1
        folder = tmp_path / str(batches)
        fit(experiment, folder, **options(**trainer))
        ends.append(runs.read(folder))
    one, two = ({**end["state_dict"], **end["task"]["adversaries"][1]["network"]} for end in ends)
    for name, value in one.items():
        if name.endswith(("weight", "bias")):
            torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5)


def test_pictures_that_come_again_are_not_measured_again() -> None:
    cycle = task()
    a, b = torch.rand(3, 3, 8, 8), torch.rand(5, 3, 8, 8)
    turns = torch.arange(6)
    once = torch.stack([turns < 3, turns < 5], dim=1)
    metrics, seen = cycle.metrics(), []
    net = cycle.features.network.model
    handle = net.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    for part in ([0, 1], [2, 3], [4], [5]):
        batch = {"unpaired": b[torch.tensor(part) % 5], "once": once[part]}
        cycle.update(metrics, a[torch.tensor(part) % 3], batch)
    handle.remove()
    assert seen == [4, 3, 1, 1]  # of the last none counts
    by_hand = cycle.metrics()
    by_hand.update(made=cycle.features(a.sigmoid()), real=cycle.features(b))
    expected = by_hand.compute()
    for name, value in metrics.compute().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-9)


def test_a_resumed_run_writes_checkpoints_from_the_device_it_is_on() -> None:
    first, resumed = task(), task()
    student = nn.Conv2d(3, 3, 1)
    a, b = torch.rand(3, 3, 8, 8), torch.rand(3, 3, 8, 8)
    first.terms(student(a), {"image": a, "unpaired": b}, student)
    resumed.resume(first.checkpoint())
    resumed.to("meta")  # in place of a GPU
    for state in resumed.checkpoint()["histories"]:
        assert (state.shape, state.device.type) == ((3, 3, 8, 8), "meta")


def test_another_run_is_refused(root, tmp_path) -> None:
    with pytest.raises(ConfigError, match="holds no histories"):
        task().resume({"adversary": {}})
    for wrong in (-0.5, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=f"0 or more, got {wrong}"):
            task(identity=wrong)
    other = task(adversarial=Adversarial(width=8, layers=1))
    with pytest.raises(ConfigError, match="other layers or widths"):
        other.resume(task().checkpoint())


def test_it_learns_to_darken_bright_pictures() -> None:
    """The mean of what is made comes near that of the other kind."""
    torch.manual_seed(0)
    student, back = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    adversarial = Adversarial(width=8, layers=1, weight=0.5, lr=2e-3)
    cycle = CycleGAN(back, Extractor(features, "stages.1"), adversarial, identity=0.0)
    optimizer = torch.optim.Adam([*student.parameters(), *back.parameters()], lr=1e-2)
    for _ in range(150):
        a, b = 0.6 + 0.4 * torch.rand(4, 3, 8, 8), 0.4 * torch.rand(4, 3, 8, 8)
        terms = cycle.terms(student(a), {"image": a, "unpaired": b}, student)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        cycle.stepped()
    made = cycle.prediction(student(a), (8, 8))
    assert 0.05 < made.mean() < 0.4
    assert 0.6 < cycle.prediction(back(b), (8, 8)).mean() < 0.95
