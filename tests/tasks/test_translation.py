import numpy as np
import pytest
import runs
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image

from anyteacher.data import RoomsData
from anyteacher.errors import ConfigError, DataError
from anyteacher.experiment import CURVES, STUDENT, Experiment, fit, seed_all
from anyteacher.facts import Facts
from anyteacher.logs import read_curves
from anyteacher.models import ConvNet, EncoderDecoder
from anyteacher.tasks import Translation
from anyteacher.tasks.adversary import Adversarial
from anyteacher.tasks.extractor import Extractor
from anyteacher.teacher import Teacher

KINDS = ("fid", "kid")


def test_loss_equals_the_slow_reference() -> None:
    torch.manual_seed(0)
    output = 0.5 + torch.randn(2, 3, 4, 5, dtype=torch.float64)  # within [0, 1] and outside
    target = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    pairs = zip(output.flatten().tolist(), target.flatten().tolist(), strict=True)
    slow = sum(abs(p - g) for p, g in pairs) / target.numel()
    assert float(Translation().loss(output, {"target": target})) == pytest.approx(slow, rel=1e-12)


def test_outside_of_the_colours_is_cut_off_and_still_learned() -> None:
    output = torch.full((1, 3, 2, 2), 7.0, requires_grad=True)
    assert torch.equal(Translation().prediction(output, (2, 2)), torch.ones(1, 3, 2, 2))
    Translation().loss(output, {"target": torch.ones(1, 3, 2, 2)}).backward()
    assert (output.grad > 0).all()


def test_the_key_of_the_target_can_be_chosen() -> None:
    task, output = Translation("relit"), torch.zeros(1, 3, 12, 12)
    batch = {"relit": torch.full((1, 3, 12, 12), 0.25), "target": torch.ones(1, 3, 12, 12)}
    assert task.loss(output, batch) == 0.25
    task.check_data(Facts(("depth", "relit")))
    with pytest.raises(ConfigError, match="'relit', which the data does not have"):
        task.check_data(Facts(("target",)))


def test_other_targets_are_refused() -> None:
    task, output = Translation(), torch.zeros(1, 3, 12, 12)
    with pytest.raises(DataError, match=r"\[0, 1\], but goes from 0\.0 to 255\.0.*255"):
        task.loss(output, {"target": torch.linspace(0, 255, 432).reshape(1, 3, 12, 12)})
    with pytest.raises(DataError, match=r"\(batch, 3, height, width\), but is \(1, 1, 12, 12\)"):
        task.update(task.metrics(), output, {"target": torch.zeros(1, 1, 12, 12)})


def test_saved_is_the_picture(tmp_path) -> None:
    prediction = torch.rand(3, 5, 7)
    (path,) = Translation().save(prediction, tmp_path / "photo")
    assert path.name == "photo_translated.png"
    with Image.open(path) as picture:
        colors = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255
    assert (colors - prediction).abs().max() <= 0.5 / 255 + 1e-6


def adversarial_run():
    """A short training on rooms, with an adversary."""
    seed_all(2)
    return Experiment(
        Translation("relit", Adversarial(width=4, layers=2)),
        EncoderDecoder(3, width=4),
        RoomsData(
            train_size=24, val_size=4, test_size=4, size=(16, 16), targets=["relit"], batch_size=8,
            cache=False,
        ),
    )  # fmt: skip


class StopError(Exception):
    """Ends a run in its middle."""


class Stop(Callback):
    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == 4:
            raise StopError


OPTIONS = {"trainer": {**runs.TRAINER, "max_epochs": 2}, "checkpoint_every": 1, **runs.QUIET}


def test_the_adversary_learns_beside_the_student_and_resumes_with_it(tmp_path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    module = fit(adversarial_run(), whole, **OPTIONS)
    with pytest.raises(StopError):
        fit(adversarial_run(), stopped, callbacks=(Stop(),), **OPTIONS)
    fit(adversarial_run(), stopped, resume=True, **OPTIONS)
    ends = [runs.read(folder) for folder in (whole, stopped)]
    assert ends[0]["global_step"] == 6  # the adversary's steps are not counted
    for key in ("state_dict", "optimizer_states", "task"):
        assert runs.differences(ends[0][key], ends[1][key], key) == []
    start = adversarial_run().task.checkpoint()
    assert runs.differences(start["adversary"]["network"], ends[0]["task"]["adversary"]["network"])
    assert not [name for name in ends[0]["state_dict"] if "adversary" in name]
    assert module.student.state_dict().keys() == EncoderDecoder(3, width=4).state_dict().keys()
    curves = read_curves(whole / CURVES)
    for (_, total), (_, difference), (_, adversary) in zip(
        *(curves[f"train/{name}"] for name in ("task", "task/difference", "task/adversary")),
        strict=True,
    ):
        assert total == pytest.approx(difference + adversary, rel=1e-6)
        assert adversary > 0


def test_the_adversary_changes_what_the_student_learns_and_not_what_it_starts_from(
    tmp_path,
) -> None:
    experiment = adversarial_run()
    start = {name: value.clone() for name, value in experiment.student.state_dict().items()}
    fit(experiment, tmp_path / "with", **OPTIONS)
    plain = adversarial_run()
    plain.task = Translation("relit")
    assert runs.differences(plain.student.state_dict(), start) == []
    fit(plain, tmp_path / "without", **OPTIONS)
    files = [(tmp_path / name / STUDENT).read_bytes() for name in ("with", "without")]
    assert files[0] != files[1]
    fit(plain, tmp_path / "without", resume=True, **OPTIONS)
    with pytest.raises(ConfigError, match="holds no adversary: its run had none"):
        fit(adversarial_run(), tmp_path / "without", resume=True, **OPTIONS)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_the_adversary_in_other_precisions(tmp_path, precision: str) -> None:
    options = {**OPTIONS, "trainer": {**OPTIONS["trainer"], "precision": precision}}
    fit(adversarial_run(), tmp_path, **options)
    adversary = runs.read(tmp_path)["task"]["adversary"]["network"]
    assert {value.dtype for value in adversary.values()} == {torch.float32}


def test_distances_of_sets_by_any_network() -> None:
    features = Extractor(Teacher(ConvNet(5, in_channels=3, widths=(4, 8))), "stages.1")
    task = Translation(features=features)
    target = torch.rand(12, 3, 16, 16)
    batch = {"target": target}
    found = {}
    for name, output in [("exact", target), ("near", target + 0.05), ("far", 1 - target**2)]:
        metrics = task.metrics()
        for part in (slice(0, 8), slice(8, 12)):
            task.update(metrics, output[part], {"target": target[part]})
        found[name] = {key: float(value) for key, value in metrics.compute().items()}
        assert set(found[name]) == {"psnr", "ssim", *(f"{k}/ConvNet.stages.1" for k in KINDS)}
    for kind in KINDS:
        values = [found[name][f"{kind}/ConvNet.stages.1"] for name in ("exact", "near", "far")]
        assert values[0] < values[1] < values[2]
    assert found["exact"]["fid/ConvNet.stages.1"] == pytest.approx(0, abs=1e-6)
    assert not task.state_dict()
    assert not list(task.parameters())
    assert task.loss(target, batch) == 0
