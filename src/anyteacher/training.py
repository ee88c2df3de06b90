"""Training a student on a task, with or without distillation, as a LightningModule."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from anyteacher.distiller import Distiller
from anyteacher.errors import ConfigError, NonFiniteError
from anyteacher.link import Link
from anyteacher.normalization import ImageNorm
from anyteacher.tasks.base import Batch, Task
from anyteacher.teacher import Teacher

# Enough images to set the statistics of a random teacher's batch normalisations, in batches.
_CALIBRATION_IMAGES, _CALIBRATION_BATCH = 256, 32


@dataclass(frozen=True)
class Optimization:
    """How the student and the projectors are optimised: AdamW, warm-up, then a cosine to zero.

    Args:
        lr: Learning rate after the warm-up.
        weight_decay: Of weights; biases and normalisations have none.
        warmup: Share of all steps over which the learning rate grows from zero; in [0, 1).
        clip: Largest norm of the gradient; 0 for no limit.
        ema: Decay of an exponential moving average of the student's weights, such as 0.999, with
            which it is validated and saved; 0 for none.
    """

    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    clip: float = 1.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.weight_decay < 0 or self.clip < 0:
            raise ConfigError(
                f"lr must be positive, weight_decay and clip 0 or more; got {self.lr}, "
                f"{self.weight_decay} and {self.clip}."
            )
        if not (0 <= self.warmup < 1 and 0 <= self.ema < 1):
            raise ConfigError(
                f"warmup and ema are shares in [0, 1); got {self.warmup} and {self.ema}."
            )

    def factor(self, step: int, steps: int) -> float:
        """The learning rate at a step of so many, as a share of `lr`."""
        warmup = round(self.warmup * steps)
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))


class TrainingModule(LightningModule):  # type: ignore[misc]
    """The whole of training: the task's loss plus the links' losses, one optimiser, the metrics.

    Sizes are found from the training images when a fit starts; a random teacher is calibrated on
    them. Outside of a fit the teachers are not needed and not run.

    Args:
        task: What is learned.
        student: Any module that takes images and gives `task.out_channels` channels.
        teachers: By name; may be empty.
        links: What is distilled; may be empty.
        optimization: How it is optimised.
        images_norm: How images in [0, 1] are normalised before the student sees them.
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
    ) -> None:
        super().__init__()
        self.task, self.optimization = task, optimization or Optimization()
        self._teachers, self._links = dict(teachers or {}), links
        self.images_norm = images_norm or ImageNorm()
        self.val_metrics = task.metrics().clone(prefix="val/")
        self.test_metrics = task.metrics().clone(prefix="test/")
        scale, shift = ImageNorm().to(self.images_norm)
        self.register_buffer("_scale", scale, persistent=False)
        self.register_buffer("_shift", shift, persistent=False)
        self.distiller = Distiller(student, {}, [], images_norm=self.images_norm)

    @property
    def student(self) -> nn.Module:
        """The student alone."""
        return self.distiller.student

    def setup(self, stage: str) -> None:
        """Finds the sizes on training images, before the optimiser and any wrapper see them."""
        if stage != "fit" or not self._links:
            return
        images = self._normalized(self._training_images())
        for teacher in self._teachers.values():
            if not teacher.calibrated:
                teacher.feed(self.images_norm)
                teacher.calibrate(torch.split(images, _CALIBRATION_BATCH))
        self.distiller = Distiller(
            self.student,
            self._teachers,
            self._links,
            example=images[:2],
            images_norm=self.images_norm,
        )

    def _training_images(self) -> Tensor:
        """The first images of the training set, the same whatever the order of training."""
        dataset = self.trainer.datamodule.train
        count = min(_CALIBRATION_IMAGES, len(dataset))
        return torch.stack([dataset[index]["image"] for index in range(count)])

    def _normalized(self, images: Tensor) -> Tensor:
        if self.images_norm == ImageNorm():
            return images
        normalized: Tensor = images * self._scale + self._shift
        return normalized

    def forward(self, images: Tensor) -> Tensor:
        """The student's raw output for images in [0, 1], (B, C, H, W)."""
        output: Tensor = self.student(self._normalized(images))
        return output

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The task's loss plus the weighted losses of the links."""
        output = self.distiller(self._normalized(batch["image"]))
        task_loss = self.task.loss(output.prediction, batch)
        loss: Tensor = task_loss + output.total
        if not torch.isfinite(loss):
            raise NonFiniteError(
                f"At step {self.global_step} the loss of the task is {task_loss.item()} and the "
                f"links add {output.total.item()}. A smaller learning rate, gradient clipping or "
                "full precision may help."
            )
        logged = {f"train/{name}": value for name, value in output.losses.items()}
        self.log_dict({"train/task": task_loss, "train/total": loss, **logged})
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Adds a batch to the validation metrics."""
        self.task.update(self.val_metrics, self(batch["image"]), batch)

    def on_validation_epoch_end(self) -> None:
        """Logs the validation metrics."""
        self.log_dict(self.val_metrics.compute(), prog_bar=False)
        self.val_metrics.reset()

    def test_step(self, batch: Batch, index: int) -> None:
        """Adds a batch to the test metrics."""
        self.task.update(self.test_metrics, self(batch["image"]), batch)

    def on_test_epoch_end(self) -> None:
        """Logs the test metrics."""
        self.log_dict(self.test_metrics.compute())
        self.test_metrics.reset()

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW over the student and the projectors, and the schedule of its learning rate."""
        settings = self.optimization
        parameters = list(self.distiller.trainable_parameters())
        groups = [
            {
                "params": [p for p in parameters if p.ndim > 1],
                "weight_decay": settings.weight_decay,
            },
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=settings.lr
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: settings.factor(step, steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leaves projectors and teachers aside where only the student is needed."""
        if not self.distiller.links:
            state = checkpoint["state_dict"]
            own = self.state_dict()
            kept = {k: v for k, v in state.items() if k in own and not k.endswith("_extra_state")}
            checkpoint["state_dict"] = own | kept
