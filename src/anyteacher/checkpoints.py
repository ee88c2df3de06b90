"""Checkpoints of a run: the last state and the best, each complete or not there at all."""

import math
import shutil
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, EMAWeightAveraging

from anyteacher.unfinished import LAST

BEST = "best.ckpt"


class Checkpoints(Checkpoint):  # type: ignore[misc]
    """Writes `last.ckpt` every so many steps or after every epoch, `best.ckpt` by one metric.

    What was there stays until the new file is complete, so a run may be killed at any moment. Where
    a validation follows a step, the checkpoint waits for it: a run that is killed during it goes on
    from a state that still has it before it.

    Args:
        folder: Where to; made if need be.
        monitor: Name of the logged metric that chooses the best.
        mode: Whether the smallest (`min`) or largest (`max`) value is the best.
        every: Training steps between two writings of `last.ckpt`, and it is written behind the last
            step; 0 for after every epoch.

    Attributes:
        best: The best value so far; None before the first validation.
    """

    def __init__(
        self, folder: Path, *, monitor: str, mode: Literal["min", "max"], every: int = 0
    ) -> None:
        super().__init__()
        self.folder, self.monitor, self.mode, self.every = folder, monitor, mode, every
        self.best: float | None = None
        self._saved, self._due = 0, False
        self._between_epochs = self._stopped = False

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Writes the last state, if it is time."""
        step = trainer.global_step
        self._due = self._due or (self.every > 0 and step % self.every == 0 and step != self._saved)
        if self._due and not trainer.is_last_batch and not _validation_follows(trainer):
            # Lightning logs a step after its callbacks. A run that is killed in between would go on
            # from a checkpoint behind a step that it never logged.
            trainer._logger_connector.update_train_step_metrics()
            self._write_last(trainer)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Counts from the step at which the run goes on; one that had stopped early stays so."""
        self._saved, self._due = trainer.global_step, False
        trainer.should_stop = trainer.should_stop or (self._stopped and _stops_early(trainer))

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Writes the last state, if it is time; the validation of the epoch lies behind it."""
        if not trainer.fast_dev_run and (not self.every or self._due or _ends(trainer)):
            self._between_epochs = True
            self._write_last(trainer)
            self._between_epochs = self._stopped = False

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Says clearly where the run is when an epoch ends."""
        if self._between_epochs:
            _settle(checkpoint["loops"]["fit_loop"], trainer.num_training_batches)

    def _write_last(self, trainer: Trainer) -> None:
        # Within an accumulation the step is that of before: it is not saved twice, half-way.
        self._saved, self._due = trainer.global_step, False
        self._stopped = _stops_early(trainer) and trainer.should_stop
        self._write(trainer, LAST)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Writes the best state, when this validation gave a better value than all before."""
        if trainer.sanity_checking or trainer.fast_dev_run or trainer.state.fn != "fit":
            return
        self._keep_best(trainer)
        if self._due and not trainer.is_last_batch:
            self._write_last(trainer)

    def _keep_best(self, trainer: Trainer) -> None:
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
            # A sharded checkpoint is a folder, which cannot be replaced at once: the old one stays
            # under another name until the new one is there.
            old = path.with_name(f"{name}.old")
            if path.is_dir():
                path.replace(old)
            part.replace(path)
            shutil.rmtree(old, ignore_errors=True)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run has to know: the best value, and whether it had stopped early."""
        return {"best": self.best, "stopped": self._stopped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what the checkpoint has."""
        self.best, self._stopped = state["best"], state["stopped"]


def _stops_early(trainer: Trainer) -> bool:
    return any(isinstance(callback, EarlyStopping) for callback in trainer.callbacks)


def _ends(trainer: Trainer) -> bool:
    """Whether the epoch that ends is the last one, or may be."""
    steps, epochs = trainer.max_steps, trainer.max_epochs
    return (
        trainer.should_stop
        or 0 <= steps <= trainer.global_step
        or (epochs is not None and 0 <= epochs <= trainer.current_epoch + 1)
    )


def _settle(loop: dict[str, Any], batches: float) -> None:
    """Writes the state of a loop at the end of an epoch as that of its next step.

    Lightning saves it half-way, the epoch processed and not completed, and does not always take it
    up where it was: a run that is bounded by its steps would repeat or lose some.
    """
    batch = loop["epoch_loop.batch_progress"]
    if batch["current"]["ready"] >= batches:  # the next epoch is to begin
        for progress in (loop["epoch_progress"][part] for part in ("total", "current")):
            progress["completed"] = progress["processed"]
        batch["current"] = dict.fromkeys(batch["current"], 0)
        batch["is_last_batch"] = False
    else:  # stopped within the epoch, which may go on
        for progress in (loop["epoch_progress"][part] for part in ("total", "current")):
            progress["processed"] = progress["completed"]


def _validation_follows(trainer: Trainer) -> bool:
    """Whether Lightning validates after the step that has just been made."""
    loop = trainer.fit_loop
    return bool(loop.epoch_loop._should_check_val_fx(loop._data_fetcher))


class Average(EMAWeightAveraging):  # type: ignore[misc]
    """Exponential moving average of all weights, with which the student is validated and saved."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Copies the module once it is complete; callbacks are asked before the module itself."""
        pl_module.setup(stage)
        super().setup(trainer, pl_module, stage)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes the hooks of the average off the teachers, which it shares."""
        if self._average_model is not None:
            self._average_model.module.distiller.release()
        super().teardown(trainer, pl_module, stage)
