"""Checkpoints of a run: the last state and the best, each complete or not there at all."""

import math
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EMAWeightAveraging

LAST, BEST = "last.ckpt", "best.ckpt"


class Checkpoints(Checkpoint):  # type: ignore[misc]
    """Writes `last.ckpt` every so many steps and after every epoch, `best.ckpt` by one metric.

    What was there stays until the new file is complete, so a run may be killed at any moment. At
    the last step of an epoch the checkpoint waits for the validation: a run that is killed during
    it goes on from a state that still has it before it.

    Args:
        folder: Where to; made if need be.
        monitor: Name of the logged metric that chooses the best.
        mode: Whether the smallest (`min`) or largest (`max`) value is the best.
        every: Training steps between two writings of `last.ckpt`; 0 for after every epoch alone.

    Attributes:
        best: The best value so far; None before the first validation.
    """

    def __init__(
        self, folder: Path, *, monitor: str, mode: Literal["min", "max"], every: int = 0
    ) -> None:
        super().__init__()
        self.folder, self.monitor, self.mode, self.every = folder, monitor, mode, every
        self.best: float | None = None
        self._saved_at = 0

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Writes the last state, if it is time."""
        step = trainer.global_step
        due = self.every > 0 and step % self.every == 0 and step != self._saved_at
        if due and not trainer.is_last_batch:
            self._saved_at = step
            self._write(trainer, LAST)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Writes the last state; the validation of the epoch, if any, lies behind it."""
        if not trainer.fast_dev_run:
            self._write(trainer, LAST)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Writes the best state, when this validation gave a better value than all before."""
        if trainer.sanity_checking or trainer.fast_dev_run or trainer.state.fn != "fit":
            return
        value = float(trainer.callback_metrics[self.monitor])
        sign = 1 if self.mode == "max" else -1
        better = self.best is None or sign * value > sign * self.best
        if better and not math.isnan(value):
            self.best = value
            self._write(trainer, BEST)

    def _write(self, trainer: Trainer, name: str) -> None:
        path = self.folder / name
        part = path.with_name(f"{name}.part")
        trainer.save_checkpoint(part)
        if trainer.is_global_zero:
            part.replace(path)

    def state_dict(self) -> dict[str, Any]:
        """The best value, so that a resumed run does not take a worse one for it."""
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the best value of the checkpoint."""
        self.best = state["best"]


class Average(EMAWeightAveraging):  # type: ignore[misc]
    """Exponential moving average of all weights, with which the student is validated and saved."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Copies the module once it is complete; callbacks are asked before the module itself."""
        pl_module.setup(stage)
        super().setup(trainer, pl_module, stage)
