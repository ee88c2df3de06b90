"""Training a student on a task, with or without distillation, as a LightningModule."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import MetricCollection

from anyteacher.connection import Connection
from anyteacher.data.loading import DataModule
from anyteacher.distiller import Distiller
from anyteacher.errors import NonFiniteError
from anyteacher.link import Link
from anyteacher.logs import Interval, log_observations
from anyteacher.losses import LogitLoss
from anyteacher.normalization import ImageNorm
from anyteacher.optimization import Optimization, trained
from anyteacher.prefitting import prefit
from anyteacher.seeding import seed_draws
from anyteacher.tasks.base import Batch, Task
from anyteacher.teacher import Teacher
from anyteacher.teaching import calibrate
from anyteacher.window import seen_by

# Enough images to set the statistics of a random teacher's batch normalisations, in batches.
_CALIBRATION_IMAGES, _CALIBRATION_BATCH = 256, 32


class TrainingModule(LightningModule):  # type: ignore[misc]
    """The whole of training: the task's loss plus the links' losses, one optimiser, the metrics.

    Sizes are found from the training images when a fit starts; a random teacher is calibrated on
    them, and projectors that average over batches are filled. Outside of a fit no teacher is run.

    Args:
        task: What is learned.
        student: Any module that takes images and gives `task.out_channels` channels.
        teachers: By name; may be empty.
        links: What is distilled; may be empty.
        optimization: How it is optimised.
        images_norm: How images in [0, 1] are normalised before the student sees them.
        observe_every: Steps between two looks at the features, for the logs; 0 for none.
        margin: Pixels on each side of training images that the teachers alone see.
    """

    def __init__(
        self,
        task: Task,
        student: nn.Module,
        *,
        teachers: Mapping[str, Teacher] | None = None,
        links: tuple[Link, ...] = (),
        optimization: Optimization | None = None,
        images_norm: ImageNorm | None = None,
        observe_every: int = 0,
        margin: int = 0,
    ) -> None:
        super().__init__()
        self.task, self.optimization = task, optimization or Optimization()
        self._teachers, self._links = dict(teachers or {}), links
        self._looks, self.margin = Interval(observe_every), margin
        self.images_norm = images_norm or ImageNorm()
        self._seed: int | None = None
        self._weights: set[str] = set()
        self.metrics = nn.ModuleDict()
        for name, part in zip(("_scale", "_shift"), ImageNorm().to(self.images_norm), strict=True):
            self.register_buffer(name, part, persistent=False)
        self.distiller = Distiller(student, {}, [], images_norm=self.images_norm)

    @property
    def student(self) -> nn.Module:
        """The student alone."""
        return self.distiller.student

    def setup(self, stage: str) -> None:
        """Finds the sizes on training images before any wrapper does; makes the metrics."""
        if stage == "fit" and self._links and not self.distiller.links:
            self.connect(self.trainer.datamodule)
        split = "test" if stage == "test" else "val"
        if split not in self.metrics:
            self.metrics[split] = self.task.metrics().clone(prefix=f"{split}/")
        # Known before a wrapper flattens and shards them.
        self._weights = {n for n, p in self.named_parameters() if p.ndim > 1}

    def connect(self, data: DataModule) -> None:
        """Finds the links' sizes and calibrates random teachers on the first training images."""
        images = self.normalized(data.first_images(_CALIBRATION_IMAGES))
        calibrate(self._teachers, torch.split(images, _CALIBRATION_BATCH), self.images_norm)
        example, norm = seen_by(images[:2], self.margin).student, self.images_norm
        self.distiller = Distiller(
            self.student, self._teachers, self._links, example=example, images_norm=norm
        )
        in_order = map(self.normalized, data.images_in_order(_CALIBRATION_BATCH))
        prefit(self.distiller, in_order, margin=self.margin)
        for link, made in zip(self.distiller.links, self.distiller.connections, strict=True):
            if isinstance(link.loss, LogitLoss):
                self.task.check_logits(link.name, cast("Connection", made).widths[0][0])

    def normalized(self, images: Tensor) -> Tensor:
        """Images in [0, 1] as the student and the distiller are fed."""
        return images if self.images_norm == ImageNorm() else images * self._scale + self._shift

    def forward(self, images: Tensor) -> Tensor:
        """The student's raw output for images in [0, 1], (B, C, H, W)."""
        output: Tensor = self.student(self.normalized(images))
        return output

    def on_train_start(self) -> None:
        """Keeps the run's seed, from which each step draws."""
        self._seed = torch.initial_seed() if self._seed is None else self._seed

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        """Seeds the step by its place, so that dropout falls alike in a resumed run."""
        seed_draws((self._seed, self.current_epoch, index, self.global_rank), self.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the seed of the run, and what the task has learned."""
        checkpoint.update(seed=self._seed, task=self.task.checkpoint())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the seed of the run, and what the task had learned."""
        self._seed = checkpoint["seed"]
        self.task.resume(checkpoint.get("task", {}))  # older ones have no such entry

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The task's loss plus the weighted losses of the links."""
        batch = self.task.varied(batch, self.margin)
        seen = seen_by(self.normalized(batch["image"]), self.margin)
        batch = seen.of(batch)
        output = self.distiller(
            seen.student,
            **seen.for_teachers(),
            targets=self.task.classes_in(batch),
            indices=batch.get("index"),
            observe=self._looks.at(self.global_step),
        )
        log_observations(self.trainer.loggers, output.observations, self.global_step)
        terms = self.task.terms(output.prediction, batch, self)
        task_loss = torch.stack(list(terms.values())).sum()
        loss: Tensor = task_loss + output.total
        if not torch.isfinite(loss):
            raise NonFiniteError(
                f"At step {self.global_step} the loss of the task is {task_loss.item()} and the "
                f"links add {output.total.item()}. A smaller learning rate, gradient clipping or "
                "full precision may help."
            )
        logged = {f"train/{name}": value for name, value in output.losses.items()}
        logged |= {f"train/task/{name}": value for name, value in terms.items() if len(terms) > 1}
        self.log_dict({"train/task": task_loss, "train/total": loss, **logged})
        self._log_step(self.global_step)
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Makes a step, and then lets what learns beside the student make its own."""
        super().optimizer_step(*args, **kwargs)
        self.task.stepped()

    def _log_step(self, step: int) -> None:
        """Names the step for all loggers: Lightning's own count differs in some resumed runs."""
        self.log("step", torch.tensor(step, dtype=torch.float64))

    def validation_step(self, batch: Batch, index: int) -> None:
        """Adds a batch to the validation metrics."""
        self.task.update(self._measured("val"), self(batch["image"]), batch)

    def on_validation_epoch_end(self) -> None:
        """Logs the validation metrics."""
        if self.trainer.state.fn == "fit":
            self._log_step(self.global_step - 1)
        self._report("val")

    def test_step(self, batch: Batch, index: int) -> None:
        """Adds a batch to the test metrics."""
        self.task.update(self._measured("test"), self(batch["image"]), batch)

    def on_test_epoch_end(self) -> None:
        """Logs the test metrics."""
        self._report("test")

    def _measured(self, split: str) -> MetricCollection:
        return cast("MetricCollection", self.metrics[split])

    def _report(self, split: str) -> None:
        if not self.trainer.sanity_checking:  # a few batches, which may hold nothing to measure
            self.log_dict(self._measured(split).compute())
        self._measured(split).reset()

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        """Limits the gradients of the student, of the projectors and of what the task learns."""
        parts = (self.student, self.distiller.connections, self.task)
        self.optimization.limit(parts, self.trainer.model)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW over all that is trained, and the schedule of its learning rate."""
        steps, links = int(self.trainer.estimated_stepping_batches), "distiller.connections."
        adamw, schedule = self.optimization.build(trained(self), self._weights, steps, links)
        return {"optimizer": adamw, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
