import inspect

import pytest
import runs
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from anyteacher import ImageNorm, Link, Teacher, Window, losses, projectors, training
from anyteacher.data import DigitsData
from anyteacher.data.loading import DataModule
from anyteacher.distillation import Distillation
from anyteacher.errors import ConfigError, NonFiniteError
from anyteacher.experiment import CURVES, STUDENT, Experiment, evaluate, fit, make_trainer
from anyteacher.logs import read_curves
from anyteacher.models import ConvNet
from anyteacher.optimization import Optimization
from anyteacher.regularizers import EffectiveRank
from anyteacher.tasks import Classification, Depth, Edges
from anyteacher.teachers import Random
from anyteacher.training import TrainingModule


def batch(count=4):
    return {"image": torch.rand(count, 1, 8, 8), "label": torch.arange(count)}


class Broken(nn.Module):
    """Gives no number after so many steps."""

    def __init__(self, after):
        super().__init__()
        self.inner, self.left = ConvNet(10, widths=(4,)), after

    def forward(self, images):
        self.left -= self.training
        return self.inner(images) * (float("nan") if self.left < 0 else 1)


def test_the_module_is_short():
    assert len(inspect.getsource(training).splitlines()) < 200


def test_a_loss_that_is_no_number_names_the_step(tmp_path):
    experiment = Experiment(Classification(10), Broken(7), DigitsData(batch_size=16, train_size=80))
    with pytest.raises(NonFiniteError, match=r"At step 7 the loss of the task is nan.*smaller"):
        fit(experiment, tmp_path, trainer=runs.TRAINER, **runs.QUIET)


class LateEdges(DataModule):
    """Validation images of which the first half shows no edge."""

    def __init__(self):
        super().__init__(batch_size=4, num_workers=0, seed=0)

    def setup(self, stage):
        images, edges = torch.linspace(0, 1, 1024).view(16, 1, 8, 8), torch.zeros(16, 1, 8, 8)
        edges[8:, :, 4] = 1
        self.train, self.val = (
            [{"image": x, "edges": y} for x, y in zip(images, target, strict=True)]
            for target in (edges.flip(0), edges)
        )


def test_the_check_before_training_asks_for_nothing_to_measure(tmp_path):
    student = nn.Conv2d(1, 1, 3, padding=1)
    fit(Experiment(Edges(), student, LateEdges()), tmp_path, trainer=runs.TRAINER, **runs.QUIET)
    curve = read_curves(tmp_path / CURVES)["val/f_measure"]
    assert [step for step, _ in curve] == [3, 7, 11]
    # What the check saw does not count: the metrics are those of the student that was kept.
    found = evaluate(
        Experiment(Edges(), student, LateEdges()),
        tmp_path / STUDENT,
        split="val",
        progress=False,
        trainer={"accelerator": "cpu"},
    )
    assert found["f_measure"] == pytest.approx(max(value for _, value in curve))


class Unsound(nn.Module):
    """Learns well, and after so many steps gives no number outside of training."""

    def __init__(self, after):
        super().__init__()
        self.inner, self.left = ConvNet(10, widths=(4,)), after

    def forward(self, images):
        self.left -= self.training
        sound = self.training or self.left > 0
        return self.inner(images) * (1 if sound else float("nan"))


def test_a_student_that_gives_no_number_in_validation_is_not_the_best(tmp_path):
    data = DigitsData(batch_size=16, train_size=80)
    with pytest.raises(NonFiniteError, match=r"for a batch to measure.*normalisations"):
        fit(
            Experiment(Classification(10), Unsound(after=runs.STEPS + 1), data),
            tmp_path,
            trainer=runs.TRAINER,
            **runs.QUIET,
        )
    assert runs.read(tmp_path, "best.ckpt")["global_step"] == runs.STEPS


def test_a_link_that_is_no_number_is_named(tmp_path):
    experiment = runs.experiment(lr=1e9, clip=0.0)
    with pytest.raises(NonFiniteError, match=r"At step \d+ the loss of link 'stages.1<-stages.1'"):
        fit(experiment, tmp_path, trainer=runs.TRAINER, **runs.QUIET)


def test_images_are_normalised_for_the_student():
    norm = ImageNorm((0.25,), (0.5,))
    module = TrainingModule(Classification(10), ConvNet(10).eval(), images_norm=norm)
    images = torch.rand(2, 1, 8, 8)
    expected = module.student((images - 0.25) / 0.5)
    torch.testing.assert_close(module(images), expected)


def test_student_and_projectors_are_clipped_each_by_its_own_norm(tmp_path):
    experiment = runs.experiment(clip=0.01)
    seen = []

    class See(Callback):
        def on_train_batch_end(self, trainer, module, *_):
            groups = (module.student, module.distiller.connections)
            seen.append(
                [
                    torch.cat([p.grad.flatten() for p in group.parameters()]).norm().item()
                    for group in groups
                ]
            )

    fit(experiment, tmp_path, callbacks=(See(),), trainer=runs.TRAINER, **runs.QUIET)
    assert len(seen) == runs.EPOCHS * runs.STEPS
    assert all(norm <= 0.01 * (1 + 1e-4) for norms in seen for norm in norms)
    assert all(norms[0] == pytest.approx(0.01, rel=1e-3) for norms in seen)


def test_draws_depend_on_seed_epoch_and_place_alone():
    def draws(seed, epoch, index):
        module = TrainingModule(Classification(10), ConvNet(10))
        module._seed = seed
        module._fabric = None
        module._trainer = type("Trainer", (), {"current_epoch": epoch, "global_rank": 0})()
        module.on_train_batch_start(batch(), index)
        return torch.rand(3).tolist()

    assert draws(1, 2, 3) == draws(1, 2, 3)
    others = [draws(1, 2, 4), draws(1, 3, 3), draws(2, 2, 3), draws(1, 3, 2)]
    assert len({tuple(d) for d in [draws(1, 2, 3), *others]}) == 5


def test_the_learning_rate_follows_the_schedule(tmp_path):
    experiment = runs.experiment(warmup=0.2)
    rates = []

    class See(Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            rates.extend({group["lr"] for group in optimizer.param_groups})

    fit(experiment, tmp_path, callbacks=(See(),), trainer=runs.TRAINER, **runs.QUIET)
    steps = runs.EPOCHS * runs.STEPS
    settings = Optimization(warmup=0.2)
    assert rates == pytest.approx([1e-2 * settings.factor(s, steps) for s in range(steps)])


def test_a_random_teacher_is_calibrated_on_training_images(tmp_path):
    experiment = runs.experiment()
    assert not experiment.teacher.calibrated
    fit(experiment, tmp_path, trainer={**runs.TRAINER, "max_epochs": 1}, **runs.QUIET)
    assert experiment.teacher.calibrated
    before = {k: v.clone() for k, v in experiment.teacher.state_dict().items()}
    again = runs.experiment()
    fit(again, tmp_path / "again", trainer=runs.TRAINER, **runs.QUIET)
    assert runs.differences(again.teacher.state_dict(), before) == []


def test_with_a_margin_the_student_sees_the_middle_and_the_teacher_all():
    sizes = {}

    def noted(name):
        model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 1, 1))
        model.register_forward_pre_hook(lambda _, args: sizes.update({name: args[0].shape[2:]}))
        return model

    links = (Link("0", "0", projector=projectors.ClosedForm(decay=0.9)),)
    teachers = {"teacher": Teacher(noted("teacher"))}
    module = TrainingModule(Depth(), noted("student"), teachers=teachers, links=links, margin=2)
    data = DigitsData(batch_size=4, train_size=40)
    data.setup("fit")
    module.connect(data)  # fills the projector's averages, too
    assert sizes == {"student": (4, 4), "teacher": (8, 8)}
    module._trainer = type("Trainer", (), {"loggers": [], "global_step": 0})()
    module.log_dict = module.log = lambda *_, **__: None
    sizes.clear()
    images, depth = torch.rand(4, 1, 10, 8), torch.rand(4, 1, 10, 8) + 1
    loss = module.training_step({"image": images, "depth": depth}, 0)
    assert sizes == {"student": (6, 4), "teacher": (10, 8)}
    middle = {"image": images[:, :, 2:8, 2:6], "depth": depth[:, :, 2:8, 2:6]}
    alone = module.task.loss(module.student(middle["image"]), middle)
    window = Window(2, 2, 6, 4)
    link = module.distiller(middle["image"], teacher_images=images, window=window).total
    torch.testing.assert_close(loss, alone + link, rtol=1e-3, atol=1e-4)


def test_with_a_margin_the_classes_of_a_box_are_shared_as_the_student_sees_it():
    seen = []

    class See(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(1, 2)

        def forward(self, images):
            seen.append(images.mean((1, 2, 3)))  # the share of the class whose images are white
            return self.head(seen[-1][:, None])

    task = Classification(2, cutmix=1.0)
    terms, told = task.terms, []
    task.terms = lambda output, batch, student: told.append(batch) or terms(output, batch, student)
    module = TrainingModule(task, See(), margin=5)
    module._trainer = type("Trainer", (), {"loggers": [], "global_step": 0})()
    module.log_dict = module.log = lambda *_, **__: None
    images = torch.stack([torch.zeros(3, 20, 24), torch.ones(3, 20, 24)])
    for _ in range(10):
        module.training_step({"image": images, "label": torch.arange(2)}, 0)
        torch.testing.assert_close(told[-1]["label"][:, 1], seen[-1])


class StopError(Exception):
    """Ends a run in its middle."""


class Stop(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == self.step:
            raise StopError


def told_experiment():
    """With losses that need each image's class or its place in the training set."""
    experiment = runs.experiment(lr=1e-2)
    links = [
        Link("head", "head", loss=losses.KD(), direction="none", name="kd"),
        Link("head", "head", loss=losses.DKD(), direction="none", name="dkd", weight=0.1),
        Link("stages.1", "stages.1", loss=losses.CRD(80, 6, negatives=20), compare="pooled",
             name="crd"),
    ]  # fmt: skip
    experiment.teacher = Random(lambda: ConvNet(10, widths=(6, 8)), seed=1)
    experiment.distillation = Distillation(links)
    return experiment


def test_losses_are_told_of_the_images_and_resume_with_what_they_remember(tmp_path):
    options = {"trainer": runs.TRAINER, "checkpoint_every": 2, **runs.QUIET}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    module = fit(told_experiment(), whole, **options)
    crd = module.distiller.connections[2].losses[0]
    start = told_experiment().distillation.links[2].loss
    start.build(8, 8)
    lengths = crd.student_memory.norm(dim=1)
    # Each of the 80 images was in a batch, once an epoch, and is remembered at unit length.
    torch.testing.assert_close(lengths, torch.ones(80))
    assert (start.student_memory.norm(dim=1) - 1).abs().max() > 0.1
    curves = read_curves(whole / CURVES)
    for name in ("kd", "dkd", "crd"):
        assert len(curves[f"train/{name}"]) == runs.EPOCHS * runs.STEPS
    with pytest.raises(StopError):
        fit(told_experiment(), stopped, callbacks=(Stop(9),), **options)
    fit(told_experiment(), stopped, resume=True, **options)
    for key in ("state_dict", "optimizer_states"):
        assert runs.differences(runs.read(stopped)[key], runs.read(whole)[key], key) == []
    kept = runs.read(whole)["state_dict"]
    assert "distiller.connections.2.losses.0.teacher_memory" in kept
    assert not [name for name in module.student.state_dict() if "memory" in name]
    assert (whole / STUDENT).read_bytes() == (stopped / STUDENT).read_bytes()


def test_mixed_images_are_mixed_alike_in_a_resumed_run(tmp_path):
    def experiment():
        made = runs.experiment()
        made.task = Classification(10, mixup=0.4, cutmix=1.0)
        return made

    options = {"trainer": runs.TRAINER, "checkpoint_every": 2, **runs.QUIET}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    fit(experiment(), whole, **options)
    with pytest.raises(StopError):
        fit(experiment(), stopped, callbacks=(Stop(9),), **options)
    fit(experiment(), stopped, resume=True, **options)
    assert (whole / STUDENT).read_bytes() == (stopped / STUDENT).read_bytes()
    fit(runs.experiment(), tmp_path / "plain", **options)
    assert (whole / STUDENT).read_bytes() != (tmp_path / "plain" / STUDENT).read_bytes()


def test_mixed_images_have_no_class_to_tell_a_loss_of(tmp_path):
    experiment = told_experiment()
    experiment.task = Classification(10, mixup=0.4)
    with pytest.raises(ConfigError, match=r"DKD needs the targets of the images"):
        fit(experiment, tmp_path, trainer=runs.TRAINER, **runs.QUIET)


def test_features_are_looked_at_once_every_so_many_steps(tmp_path):
    def curves(folder, every, **options):
        experiment = runs.experiment()
        links = [*experiment.distillation.links, Link("stages.1", loss=EffectiveRank())]
        experiment.distillation = Distillation(links, observe_every=every)
        fit(experiment, folder, trainer={**runs.TRAINER, **options}, **runs.QUIET)
        found = read_curves(folder / CURVES)
        return {name: curve for name, curve in found.items() if not name.startswith("time/")}

    seen = curves(tmp_path / "a", 4)
    for link in ("stages.1<-stages.1", "stages.1:EffectiveRank"):
        assert [step for step, _ in seen[f"spectra/{link}/energy"]] == [0, 4, 8, 12]
    for (step, loss), (same, total) in zip(
        seen["train/stages.1<-stages.1"][::4],
        seen["spectra/stages.1<-stages.1/total"],
        strict=True,
    ):
        assert (step, loss) == (same, pytest.approx(total, rel=1e-4))
    assert len([name for name in seen if "singular_values" in name]) == 8
    plain = curves(tmp_path / "b", 0)
    assert plain == {name: curve for name, curve in seen.items() if "spectra" not in name}
    together = curves(tmp_path / "c", 1, accumulate_grad_batches=2)
    steps = [step for step, _ in together["spectra/stages.1:EffectiveRank/energy"]]
    assert steps == list(range(9))


def test_a_module_is_ready_without_a_fit():
    module = runs.experiment().module()
    experiment = runs.experiment()
    trainer = make_trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False)
    values = trainer.validate(module, datamodule=experiment.data, verbose=False)[0]
    assert set(values) == {"val/top1", "val/top5"}
    assert module.distiller.links == ()


class SeeGroups(Callback):
    """Keeps the learning rate and the weight decay of each parameter, by its name."""

    def on_train_start(self, trainer, module):
        names = {id(p): name for name, p in module.distiller.named_parameters()}
        self.groups = {
            names[id(p)]: (group["initial_lr"], group["weight_decay"])
            for group in trainer.optimizers[0].param_groups
            for p in group["params"]
        }


def test_matrices_decay_and_nothing_else_whatever_a_wrapper_makes_of_their_shape(tmp_path):
    see = SeeGroups()
    experiment = runs.experiment(weight_decay=0.1)
    module = fit(experiment, tmp_path, callbacks=(see,), trainer=runs.TRAINER, **runs.QUIET)
    decays = {name: decay for name, (_, decay) in see.groups.items()}
    expected = {n: 0.1 if p.ndim > 1 else 0.0 for n, p in module.distiller.named_parameters()}
    assert decays == expected
    assert set(decays.values()) == {0.0, 0.1}
    # As a sharding wrapper leaves them: flat, under a prefix, known by their names of before.
    for parameter in module.distiller.parameters():
        parameter.data = parameter.data.flatten()
    module.trainer = type("Trainer", (), {"estimated_stepping_batches": 3})()
    optimizer = module.configure_optimizers()["optimizer"]
    assert [len(group["params"]) for group in optimizer.param_groups] == [
        sum(decay > 0 for decay in expected.values()),
        sum(decay == 0 for decay in expected.values()),
    ]


def test_projectors_may_have_a_rate_and_a_decay_of_their_own(tmp_path):
    see = SeeGroups()
    own = {"projector_lr_factor": 0.5, "projector_weight_decay": 0.25}
    experiment = runs.experiment(lr=0.01, weight_decay=0.1, **own)
    fit(experiment, tmp_path, callbacks=(see,), trainer=runs.TRAINER, **runs.QUIET)
    projectors = {
        settings for name, settings in see.groups.items() if name.startswith("connections.")
    }
    students = {settings for name, settings in see.groups.items() if name.startswith("student.")}
    assert projectors == {(0.005, 0.25)}
    assert students == {(0.01, 0.1), (0.01, 0.0)}
