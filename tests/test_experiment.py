import json
import shutil

import pytest
import runs
import torch
from lightning.pytorch.callbacks import Callback

from anyteacher import Link, Teacher
from anyteacher.data import DigitsData, DigitsDataset, RoomsData
from anyteacher.distillation import Distillation
from anyteacher.errors import AnyteacherError, ConfigError, NonFiniteError, TeacherError
from anyteacher.experiment import (
    CURVES,
    INFO,
    STUDENT,
    Experiment,
    evaluate,
    fit,
    make_trainer,
    seed_all,
    set_threads,
)
from anyteacher.facts import Facts
from anyteacher.logs import read_curves
from anyteacher.models import ConvNet, EncoderDecoder
from anyteacher.normalization import IMAGENET, ImageNorm
from anyteacher.optimization import Optimization
from anyteacher.regularizers import TrailingEnergy
from anyteacher.tasks import Classification, Depth
from anyteacher.teachers import Random
from anyteacher.weights import load_weights

OPTIONS = {"trainer": runs.TRAINER, **runs.QUIET}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, its experiment, and the students after every epoch."""
    folder = tmp_path_factory.mktemp("run")
    students = []

    class Keep(Callback):
        def on_train_epoch_end(self, trainer, module):
            students.append({k: v.clone() for k, v in module.student.state_dict().items()})

    experiment = runs.experiment(lr=3e-2)
    fit(experiment, folder, callbacks=(Keep(),), **OPTIONS)
    return folder, experiment, students


def best_epoch(folder):
    values = [value for _, value in read_curves(folder / CURVES)["val/top1"]]
    return values.index(max(values))


def test_the_run_holds_what_it_says(run):
    folder, _, _ = run
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    files = {CURVES, INFO, STUDENT, "checkpoints/best.ckpt", "checkpoints/last.ckpt"}
    assert found == files
    facts = json.loads((folder / INFO).read_text())
    assert (facts["image"], facts["step"]) == ([1, 8, 8], 15)
    assert facts["seconds"].keys() == {"steps", "validation"}
    assert min(facts["seconds"].values()) > 0


def test_whoever_reads_the_run_reads_the_student(run):
    folder, _, _ = run
    assert (folder / STUDENT).stat().st_mode == (folder / CURVES).stat().st_mode


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_machine_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"\{'accelerator': 'gpu'\}: No supported gpu"):
        make_trainer(accelerator="gpu")


def test_the_student_is_the_best_by_the_metric_with_its_own_keys_alone(run):
    folder, experiment, students = run
    fresh = ConvNet(10, widths=(4, 8))
    load_weights(fresh, folder / STUDENT)
    assert runs.differences(fresh.state_dict(), students[best_epoch(folder)]) == []
    assert runs.differences(experiment.student.state_dict(), fresh.state_dict()) == []
    from safetensors.torch import load_file

    assert load_file(folder / STUDENT).keys() == fresh.state_dict().keys()


def test_the_best_is_not_always_the_last(run):
    # Otherwise the test above would not tell them apart.
    folder, _, students = run
    assert len(students) == runs.EPOCHS
    last = runs.read(folder)["state_dict"]
    own = {k.removeprefix("distiller.student."): v for k, v in last.items() if ".student." in k}
    assert runs.differences(own, students[-1]) == []


def test_a_student_that_shares_weights_is_written_at_the_end(tmp_path):
    data = DigitsData(batch_size=16, train_size=80)
    experiment = Experiment(Classification(10), runs.Tied(), data)
    module = fit(experiment, tmp_path, trainer={**runs.TRAINER, "max_epochs": 1}, **runs.QUIET)
    written = runs.Tied()
    load_weights(written, tmp_path / STUDENT)
    assert runs.differences(written.state_dict(), module.student.state_dict()) == []


def test_no_teacher_in_the_checkpoint(run):
    folder, _, _ = run
    state = runs.read(folder)["state_dict"]
    assert not [key for key in state if "teacher" in key]
    assert any("connections" in key for key in state)


@pytest.mark.parametrize("weights", [STUDENT, "checkpoints/best.ckpt"])
def test_evaluate_equals_metrics_by_hand(run, weights):
    folder, _, _ = run
    found = evaluate(runs.experiment(), folder / weights, progress=False)
    student = ConvNet(10, widths=(4, 8)).eval()
    load_weights(student, folder / weights)
    data = DigitsDataset("test")
    with torch.no_grad():
        logits = student(data.images)
    top1 = (logits.argmax(1) == data.labels).float().mean().item()
    top5 = (logits.topk(5).indices == data.labels[:, None]).any(1).float().mean().item()
    assert found == {"top1": pytest.approx(top1), "top5": pytest.approx(top5)}


def test_evaluate_on_validation_data_finds_the_best_value_again(run):
    folder, _, _ = run
    values = [value for _, value in read_curves(folder / CURVES)["val/top1"]]
    found = evaluate(runs.experiment(), folder / STUDENT, split="val", progress=False)
    assert found["top1"] == pytest.approx(max(values))


def test_evaluate_needs_no_teacher(run):
    folder, _, _ = run
    experiment = runs.experiment()
    experiment.teacher = None  # the links still name one
    assert 0 <= evaluate(experiment, folder / STUDENT, progress=False)["top1"] <= 1


def test_evaluate_without_weights(tmp_path):
    with pytest.raises(TeacherError, match="no checkpoint at"):
        evaluate(runs.experiment(), tmp_path / "none.safetensors", progress=False)


def test_same_arguments_same_weights(run, tmp_path):
    folder, _, _ = run
    fit(runs.experiment(lr=3e-2), tmp_path, **OPTIONS)
    assert (tmp_path / STUDENT).read_bytes() == (folder / STUDENT).read_bytes()


@pytest.mark.parametrize("clip", [0.0, 0.1])
def test_weight_zero_trains_as_alone_bit_for_bit(tmp_path, clip):
    settings = {"clip": clip, "dropout": 0.2}
    alone = runs.experiment(**settings)
    alone.teacher, alone.distillation = None, Distillation()
    fit(alone, tmp_path / "alone", **OPTIONS)
    fit(runs.experiment(**settings, weight=0.0), tmp_path / "zero", **OPTIONS)
    fit(runs.experiment(**settings), tmp_path / "taught", **OPTIONS)
    found = {}
    for name in ("alone", "zero", "taught"):
        state = runs.read(tmp_path / name)["state_dict"]
        found[name] = {key: value for key, value in state.items() if ".student." in key}
    assert runs.differences(found["zero"], found["alone"]) == []
    assert runs.differences(found["taught"], found["alone"]) != []


def test_the_teacher_is_bit_equal_after_training(run, tmp_path):
    _, experiment, _ = run
    before = {k: v.clone() for k, v in experiment.teacher.model.state_dict().items()}
    again = runs.experiment()
    again.teacher = experiment.teacher
    fit(again, tmp_path, **OPTIONS)
    assert runs.differences(experiment.teacher.model.state_dict(), before) == []


def test_a_folder_with_a_run_is_refused_at_once(run):
    folder, _, _ = run
    before = (folder / CURVES).read_bytes()
    with pytest.raises(ConfigError, match=r"holds a run already\. Resume it"):
        fit(runs.experiment(), folder, **OPTIONS)
    assert (folder / CURVES).read_bytes() == before


def test_what_a_failed_start_logged_is_forgotten(tmp_path):
    (tmp_path / CURVES).write_text("step,name,value\n9999,old,1.0\n")
    fit(runs.experiment(), tmp_path, **{**OPTIONS, "trainer": {**runs.TRAINER, "max_epochs": 1}})
    assert "old" not in read_curves(tmp_path / CURVES)


def test_other_teachers_do_not_resume_the_run(run, tmp_path):
    shutil.copytree(run[0], tmp_path / "run")
    experiment = runs.experiment()
    experiment.teacher = Random(lambda: ConvNet(5, widths=(6, 8)), seed=2)
    with pytest.raises(TeacherError, match="other teachers: teacher differ"):
        fit(experiment, tmp_path / "run", resume=True, **OPTIONS)


def test_links_without_a_teacher():
    experiment = runs.experiment()
    experiment.teacher = None
    with pytest.raises(ConfigError, match=r"links to a teacher \(1\) and there is no teacher"):
        experiment.module()


def test_regularisers_need_no_teacher(tmp_path):
    experiment = runs.experiment()
    experiment.teacher = None
    link = Link("stages.1", loss=TrailingEnergy(0.25, start=0.9, steps=10), weight=0.1)
    experiment.distillation = Distillation([link], direction="traditional", weight=2.0)
    module = fit(experiment, tmp_path, trainer=runs.TRAINER, **runs.QUIET)
    (made,) = module.distiller.links
    assert (made.weight, made.direction) == (0.2, "inverted")
    curves = read_curves(tmp_path / "curves.csv")
    assert len(curves["train/stages.1:TrailingEnergy"]) == runs.EPOCHS * runs.STEPS
    for (_, task), (_, extra), (_, total) in zip(
        *(curves[f"train/{name}"] for name in ("task", "stages.1:TrailingEnergy", "total")),
        strict=True,
    ):
        assert total == pytest.approx(task + 0.2 * extra, rel=1e-5)


def test_depth_on_rooms_with_two_teachers_ema_and_half_precision(tmp_path):
    seed_all(0)
    experiment = Experiment(
        Depth(),
        EncoderDecoder(1, width=4, bias=1.1),
        RoomsData(
            train_size=8,
            val_size=2,
            test_size=2,
            size=(16, 24),
            targets=["depth"],
            batch_size=4,
            cache=False,
        ),
        {
            "shapes": Random(lambda: EncoderDecoder(3, width=4), seed=1),
            "plain": Teacher(torch.nn.Sequential(torch.nn.Conv2d(3, 5, 2, stride=2))),
        },
        Distillation(
            [
                Link("encoder.3", "encoder.3", of="shapes", teacher_norm="batch"),
                Link("encoder.0", "0", of="plain", direction="traditional"),
            ]
        ),
        Optimization(ema=0.5),
    )
    trainer = {**runs.TRAINER, "max_epochs": 1, "precision": "bf16-mixed"}
    fit(experiment, tmp_path, **{**OPTIONS, "trainer": trainer, "tensorboard": True})
    curves = read_curves(tmp_path / CURVES)
    assert {"train/encoder.3<-encoder.3", "train/encoder.0<-0", "val/abs_rel"} <= set(curves)
    assert list((tmp_path / "tensorboard").glob("events.*"))
    assert "current_model_state" in runs.read(tmp_path)
    found = evaluate(experiment, tmp_path / STUDENT, progress=False)
    assert len(found) == 9
    assert found["abs_rel"] > 0


def test_without_validation_the_last_student_is_kept(tmp_path):
    trainer = {**runs.TRAINER, "max_epochs": 1, "limit_val_batches": 0}
    fit(runs.experiment(), tmp_path, **{**OPTIONS, "trainer": trainer})
    assert not (tmp_path / "checkpoints" / "best.ckpt").exists()
    assert (tmp_path / STUDENT).exists()


def test_threads():
    before = torch.get_num_threads()
    set_threads(0)
    assert torch.get_num_threads() == before
    set_threads(1)
    assert torch.get_num_threads() == 1


def test_classification_alone_learns_the_digits(tmp_path):
    seed_all(0)
    experiment = Experiment(
        Classification(10),
        ConvNet(10, widths=(8, 16)),
        DigitsData(batch_size=32),
        optimization=Optimization(lr=1e-2),
    )
    fit(experiment, tmp_path, **{**OPTIONS, "trainer": {**runs.TRAINER, "max_epochs": 4}})
    assert evaluate(experiment, tmp_path / STUDENT, progress=False)["top1"] > 0.85


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_no_hook_stays_on_student_or_teacher(tmp_path, ema):
    experiment = runs.experiment(ema=ema)
    fit(experiment, tmp_path / "a", trainer={**runs.TRAINER, "max_epochs": 1}, **runs.QUIET)
    hooked = [experiment.student, experiment.teacher]
    assert not [m for model in hooked for m in model.modules() if m._forward_hooks]
    broken = runs.experiment(lr=1e9, clip=0.0)
    with pytest.raises(NonFiniteError):
        fit(broken, tmp_path / "b", trainer=runs.TRAINER, **runs.QUIET)
    hooked = [broken.student, broken.teacher]
    assert not [m for model in hooked for m in model.modules() if m._forward_hooks]


def test_images_are_normalised_as_is_usual_with_the_data_unless_said(monkeypatch):
    made = runs.experiment()
    assert made.module().images_norm == ImageNorm()
    monkeypatch.setattr(type(made.data), "facts", lambda self: Facts(norm=IMAGENET))
    assert made.module().images_norm == IMAGENET
    made.images_norm = ImageNorm((0.5,), (0.5,))
    assert made.module().images_norm == ImageNorm((0.5,), (0.5,))


def test_data_that_do_not_fit_the_task_are_refused_before_anything_is_made(tmp_path):
    made = runs.experiment()
    made.task = Classification(7)
    for run in (lambda: fit(made, tmp_path / "run"), lambda: evaluate(made, tmp_path / "none")):
        with pytest.raises(ConfigError, match="set to 7 classes, and the data has 10"):
            run()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "link",
    [Link("stages.9", "stages.1"), Link("stages.1", loss=TrailingEnergy(99))],
    ids=["tap", "rank"],
)
def test_a_run_that_cannot_be_set_up_leaves_nothing(tmp_path, link):
    folder = tmp_path / "run"
    experiment = runs.experiment()
    experiment.distillation = Distillation([link])
    with pytest.raises(AnyteacherError):
        fit(experiment, folder, **{**OPTIONS, "tensorboard": True})
    assert not folder.exists()
