import pytest
import runs
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from PIL import Image
from torch import nn

from anyteacher import cli
from anyteacher.data import RoomsData
from anyteacher.errors import ConfigError
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


def test_what_lies_in_the_bars_of_a_pair_changes_nothing() -> None:
    """Neither loss, adversary, PSNR, SSIM nor the distances of sets."""
    features = Extractor(lambda: Teacher(ConvNet(5, in_channels=3, widths=(4, 8))), "stages.1")
    target, image, output = (torch.rand(4, 3, 16, 20) for _ in range(3))
    target[..., :3], target[..., -2:] = torch.nan, torch.nan
    other = torch.where(target.isnan(), 0.9, output)
    found = []
    for drawn in (output, other):
        torch.manual_seed(0)
        task = Translation(adversarial=Adversarial(width=4, layers=2), features=features)
        made, batch = drawn.requires_grad_(), {"target": target, "image": image}
        terms = task.terms(made, batch, nn.Identity())
        sum(terms.values()).backward()
        assert made.grad.isfinite().all()
        assert ((made.grad == 0) == target.isnan()).all()
        task.stepped()
        assert all(value.isfinite().all() for value in task.adversary.network.parameters())
        metrics = task.metrics()
        task.update(metrics, made.detach(), batch)
        found.append([terms, metrics.compute(), task.adversary.network.state_dict()])
    assert runs.differences(*found) == []
    plain = task.loss(output[..., 3:-2].detach(), {"target": target[..., 3:-2]})
    torch.testing.assert_close(found[0][0]["difference"], plain)


def test_the_key_of_the_target_can_be_chosen() -> None:
    task, output = Translation("relit"), torch.zeros(1, 3, 12, 12)
    batch = {"relit": torch.full((1, 3, 12, 12), 0.25), "target": torch.ones(1, 3, 12, 12)}
    assert task.loss(output, batch) == 0.25
    task.check_data(Facts(("depth", "relit")))
    with pytest.raises(ConfigError, match="'relit', which the data does not have"):
        task.check_data(Facts(("target",)))


def test_the_adversary_looks_at_the_image_beside_the_picture() -> None:
    task, output = Translation(adversarial=Adversarial(width=4, layers=2)), torch.rand(2, 3, 16, 16)
    batch = {"target": torch.rand(2, 3, 16, 16), "image": torch.rand(2, 3, 16, 16)}
    other = {**batch, "image": batch["image"].flip(0)}

    def said(batch):
        return task.terms(output, batch, nn.Identity())["adversary"]

    assert said(batch) != said(other)


def adversarial_run(batch_size=8):
    """A short training on rooms, with an adversary."""
    seed_all(2)
    return Experiment(
        Translation("relit", Adversarial(width=4, layers=2)),
        EncoderDecoder(3, width=4),
        RoomsData(
            train_size=24,
            val_size=4,
            test_size=4,
            size=(16, 16),
            targets=["relit"],
            batch_size=batch_size,
            cache=False,
        ),
    )


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
    with pytest.raises(ConfigError, match="holds no adversary, and the task has one"):
        fit(adversarial_run(), tmp_path / "without", resume=True, **OPTIONS)
    with pytest.raises(ConfigError, match="holds an adversary, and the task has none"):
        fit(plain, tmp_path / "with", resume=True, **OPTIONS)


def test_accumulated_batches_are_one_large_batch_for_the_adversary_too(tmp_path) -> None:
    states = []
    for batch_size, batches in [(8, 1), (4, 2)]:
        experiment = adversarial_run(batch_size)
        experiment.student = nn.Conv2d(3, 3, 3, padding=1)  # no statistics of a batch
        trainer = {**OPTIONS["trainer"], "accumulate_grad_batches": batches}
        folder = tmp_path / str(batches)
        fit(experiment, folder, **{**OPTIONS, "trainer": trainer})
        states.append(runs.read(folder))
        assert states[-1]["global_step"] == 6
    one, two = ({**s["state_dict"], **s["task"]["adversary"]["network"]} for s in states)
    learned = [name for name in one if name.endswith(("weight", "bias"))]
    assert len(learned) == 2 + 6
    for name in learned:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5)
    steps = [s["task"]["adversary"]["optimizer"]["state"][0]["step"] for s in states]
    assert [float(step) for step in steps] == [6, 6]


def test_accumulation_resumes_to_the_same_weights(tmp_path) -> None:
    trainer = {**OPTIONS["trainer"], "accumulate_grad_batches": 2}
    options = {**OPTIONS, "trainer": trainer}
    fit(adversarial_run(4), tmp_path / "whole", **options)
    with pytest.raises(StopError):
        fit(adversarial_run(4), tmp_path / "stopped", callbacks=(Stop(),), **options)
    fit(adversarial_run(4), tmp_path / "stopped", resume=True, **options)
    ends = [runs.read(tmp_path / name) for name in ("whole", "stopped")]
    for key in ("state_dict", "optimizer_states", "task"):
        assert runs.differences(ends[0][key], ends[1][key], key) == []


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_the_adversary_in_other_precisions(tmp_path, precision: str) -> None:
    options = {**OPTIONS, "trainer": {**OPTIONS["trainer"], "precision": precision}}
    fit(adversarial_run(), tmp_path, **options)
    adversary = runs.read(tmp_path)["task"]["adversary"]["network"]
    assert {value.dtype for value in adversary.values()} == {torch.float32}


def test_distances_of_sets_by_any_network() -> None:
    features = Extractor(lambda: Teacher(ConvNet(5, in_channels=3, widths=(4, 8))), "stages.1")
    task = Translation(features=features)
    target = torch.rand(12, 3, 16, 16)
    batch = {"target": target}
    found = {}
    for name, output in [("exact", target), ("near", target + 0.05), ("far", 1 - target**2)]:
        metrics = task.metrics()
        for part in (slice(0, 8), slice(8, 12)):
            task.update(metrics, output[part], {"target": target[part], "image": target[part]})
        found[name] = {key: float(value) for key, value in metrics.compute().items()}
        assert set(found[name]) == {"psnr", "ssim", *(f"{k}/ConvNet.stages.1" for k in KINDS)}
    for kind in KINDS:
        values = [found[name][f"{kind}/ConvNet.stages.1"] for name in ("exact", "near", "far")]
        assert values[0] < values[1] < values[2]
    assert found["exact"]["fid/ConvNet.stages.1"] == pytest.approx(0, abs=1e-6)
    assert not task.state_dict()
    assert not list(task.parameters())
    assert task.loss(target, batch) == 0


def test_the_network_that_measures_is_not_needed_to_predict(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("ANYTEACHER_CACHE", str(tmp_path / "cache"))
    weights, run = tmp_path / "weights.pt", tmp_path / "run"
    torch.save(ConvNet(5, in_channels=3, widths=(4, 8)).state_dict(), weights)
    network = {
        "class_path": "anyteacher.models.ConvNet",
        "init_args": {"classes": 5, "in_channels": 3, "widths": [4, 8]},
    }
    teacher = {"class_path": "Teacher", "init_args": {"model": network, "weights": str(weights)}}
    sizes = {"train_size": 8, "val_size": 4, "test_size": 4, "size": [16, 16], "batch_size": 4}
    settings = {
        "task": {
            "class_path": "Translation",
            "init_args": {
                "target": "relit",
                "features": {"model": teacher, "layer": "stages.1"},
            },
        },
        "student": {
            "class_path": "anyteacher.models.EncoderDecoder",
            "init_args": {"out_channels": 3, "width": 4},
        },
        "data": {"class_path": "RoomsData", "init_args": {**sizes, "targets": ["relit"]}},
        "trainer": {**runs.TRAINER, "max_epochs": 1, "enable_progress_bar": False},
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    assert cli.main(["fit", f"--config={config}", f"--output={run}"]) == 0
    assert cli.main(["test", str(run)]) == 0
    assert "fid/ConvNet.stages.1" in capsys.readouterr().out
    weights.unlink()
    Image.new("RGB", (20, 16)).save(tmp_path / "photo.png")
    output = tmp_path / "predictions"
    photo = f"--images={tmp_path / 'photo.png'}"
    assert cli.main(["predict", str(run), photo, f"--output={output}"]) == 0
    assert (output / "photo_png_translated.png").exists()
    assert cli.main(["test", str(run)]) == 2
    assert f"no checkpoint at '{weights}'" in capsys.readouterr().err
