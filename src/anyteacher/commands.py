"""What the subcommands do, once their settings are read."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from PIL import Image
from rich.console import Console

from anyteacher import experiment
from anyteacher.check import check
from anyteacher.checkpoints import Checkpoints
from anyteacher.data import write_contact_sheet
from anyteacher.data.rooms import SPLITS
from anyteacher.demo import run_demo
from anyteacher.errors import CollapseWarning, ConfigError, DataError, did_you_mean, require
from anyteacher.images import replacing
from anyteacher.instantiation import (
    finished,
    flattened,
    image_shape,
    instantiate,
    instantiate_alone,
    instantiate_data,
)
from anyteacher.objective import Objective
from anyteacher.predict import predict_folder, step_of
from anyteacher.projectors import LevelProjector, Projector
from anyteacher.report import Table, print_table, say
from anyteacher.results import write_result
from anyteacher.unfinished import last_checkpoint
from anyteacher.weights import load_weights

_CONSOLE = Console()
# What the metrics of given weights depend on.
_DECISIVE = ("task", "student", "data", "images_norm")
# Of a run that goes on: how long and where it trains, and what of it is logged.
_MAY_CHANGE = ("trainer.", "threads", "distillation.observe_every", "data.init_args.num_workers")
_NOT_SAVED = ("config", "output", "resume", "checkpoint_every", "run", "weights")


def _by_name(value: Any) -> Any:
    """The settings with default objects of a link, such as its loss, given by their class."""
    if isinstance(value, Namespace):
        return Namespace({key: _by_name(item) for key, item in vars(value).items()})
    if isinstance(value, list):
        return [_by_name(item) for item in value]
    if isinstance(value, Objective | Projector | LevelProjector):
        return Namespace(class_path=f"{type(value).__module__}.{type(value).__qualname__}")
    return value


class _Keep(Callback):  # type: ignore[misc]
    """Writes the configuration once training starts: what cannot start leaves a run as it was."""

    def __init__(self, text: str, path: Path) -> None:
        self.text, self.path = text, path

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes it."""
        if trainer.is_global_zero and not trainer.fast_dev_run:
            with replacing(self.path) as temporary:
                temporary.write_text(self.text)


def fit(parser: ArgumentParser, settings: Namespace) -> int:
    """Trains a student and leaves its run in a folder, with the configuration."""
    experiment.check_new(settings.output, resume=settings.resume)
    start, done = time.monotonic(), experiment.finished_step(settings.output)
    # With every null in it: the default of a setting may be another. Read again before it is
    # written, so that default objects are there with their settings, as in a resumed run.
    kept = parser.parse_string(parser.dump(_by_name(settings.clone()), skip_unset=False))
    for name in _NOT_SAVED:
        kept.pop(name, None)
    config = parser.dump(kept, skip_unset=False)
    if settings.resume:
        _check_resumed(settings.output / experiment.CONFIG, config)
    made, trainer = instantiate(parser, settings)
    if rank_zero_only.rank == 0:
        if settings.resume and not last_checkpoint(settings.output).exists():
            say(f"There is no run in {settings.output} to go on with: a new one begins.")
        for name, teacher in made.teachers().items():
            say(f"{name}: {teacher.described()}.")
    with _told_in_a_sentence():
        module = experiment.fit(
            made,
            settings.output,
            resume=settings.resume,
            checkpoint_every=settings.checkpoint_every,
            callbacks=(_Keep(config, settings.output / experiment.CONFIG),),
            progress=trainer["enable_progress_bar"] is not False,
            trainer=trainer,
        )
    if module.trainer.fast_dev_run:
        say("A trial of a few batches went through; nothing of it was kept.")
    elif module.trainer.is_global_zero:
        kept = next(c for c in module.trainer.callbacks if isinstance(c, Checkpoints))
        found = "" if kept.best is None else f" Best {kept.monitor}: {kept.best:.4f}."
        trained = f"Trained in {_duration(time.monotonic() - start)}."
        if module.trainer.global_step == done:
            trained = "The run was complete: there was nothing left to train."
        say(
            f"{trained}{found} The run is in {settings.output}; "
            f"`anyteacher test {quote(str(settings.output))}` measures it on the test data."
        )
    return 0


def _duration(seconds: float) -> str:
    """A time in the unit in which it is read.

    >>> _duration(4.2), _duration(90)
    ('4.2 seconds', '1.5 minutes')
    """
    return f"{seconds:.1f} seconds" if seconds < 60 else f"{seconds / 60:.1f} minutes"


def _check_resumed(path: Path, config: str) -> None:
    """Refuses to go on with a run as one of another seed, student or weight.

    Raises:
        ConfigError: naming what differs from the run's own settings.
    """
    if not path.is_file():
        return
    now, then = (dict(flattened(require("yaml").safe_load(c))) for c in (config, path.read_text()))
    changed = sorted(
        name
        for name in now.keys() | then.keys()
        if now.get(name) != then.get(name) and not name.startswith(_MAY_CHANGE)
    )
    if changed:
        described = ", ".join(f"{n} from {then.get(n)} to {now.get(n)}" for n in changed[:5])
        raise ConfigError(
            f"The run in '{path.parent}' was trained with other settings: {described}"
            f"{' and more' if len(changed) > 5 else ''}. A run goes on as it began; only how long "
            "and where it trains may change. Start another run (--output)."
        )


@contextmanager
def _told_in_a_sentence() -> Iterator[None]:
    """Inside, a collapse is told in a sentence and not with a line of the library's code."""
    others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, CollapseWarning):
            say(f"Warning: {message}")
        else:
            others(message, category, *where, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = others


def evaluation(split: str) -> Callable[[ArgumentParser, Namespace], int]:
    """A command that prints the metrics on a split, and leaves those of the run's own in it."""

    def run(parser: ArgumentParser, settings: Namespace) -> int:
        changed = _changed(parser, settings)
        made, trainer = instantiate_alone(parser, settings)
        weights = settings.weights or finished(settings.run)
        progress = trainer["enable_progress_bar"] is not False
        values = experiment.evaluate(made, weights, split=split, progress=progress, trainer=trainer)
        rows = tuple((name, value) for name, value in values.items())
        if rank_zero_only.rank == 0:
            print_table(Table(("metric", split), rows, f"{type(made.task).__name__}", decimals=4))
            if changed:
                say(f"Not kept in the run, which has {'other ' + ' and '.join(changed)}.")
            else:
                write_result(settings.run, split, values, weights)
        return 0

    return run


def _changed(parser: ArgumentParser, settings: Namespace) -> list[str]:
    """What decides the metrics and is not as it was in training."""
    yaml = require("yaml")
    own = yaml.safe_load((settings.run / experiment.CONFIG).read_text())
    now = yaml.safe_load(parser.dump(_by_name(settings.clone()), skip_unset=False))
    changed = [name for name in _DECISIVE if own.get(name) != now.get(name)]
    return ["weights", *changed] if settings.weights else changed


def predict(parser: ArgumentParser, settings: Namespace) -> int:
    """Predicts a folder of images; those that cannot be read are named, and the rest goes on.

    Then the status is 1, so that a script does not take the results for complete.
    """
    made, _ = instantiate_alone(parser, settings, with_data=False)
    load_weights(made.student, settings.weights or finished(settings.run))
    channels, *size = image_shape(settings.run)
    resolution = min(size) if settings.resolution < 0 else settings.resolution
    module = made.module().to("cuda" if torch.cuda.is_available() else "cpu")
    done = failed = 0
    for result in predict_folder(
        module,
        settings.images,
        settings.output,
        channels=channels,
        resolution=resolution,
        step=step_of(size),
    ):
        if result.problem:
            failed += 1
            say(f"not read: {result.problem}")
        else:
            done += 1
    say(f"{done} images predicted into {settings.output}, {failed} not read.")
    if not done:
        raise DataError(f"No image in '{settings.images}' could be read.")
    return 1 if failed else 0


def check_data(parser: ArgumentParser, settings: Namespace) -> int:
    """Reads all data of a configuration and reports; the status is 1 where something is broken."""
    data, task = instantiate_data(parser, settings)
    task.check_data(data.facts())
    return 0 if check(data, _CONSOLE, settings.shown) else 1


def rooms(parser: ArgumentParser, settings: Namespace) -> int:
    """Writes a contact sheet of generated scenes."""
    if settings.split not in SPLITS:
        raise ConfigError(f"No split '{settings.split}'. {did_you_mean(settings.split, SPLITS)}")
    if Image.registered_extensions().get(settings.show.suffix.lower()) not in Image.SAVE:
        raise ConfigError(
            f"'{settings.show}' has an ending that is no image format. Write a .png file."
        )
    try:
        path = write_contact_sheet(
            settings.show,
            split=settings.split,
            count=settings.count,
            size=(settings.size[0], settings.size[1]),
            seed=settings.seed,
        )
    except OSError as error:
        raise DataError(f"'{settings.show}' cannot be written ({error}).") from error
    say(f"{settings.count} scenes are in {path}.")
    return 0


def demo(parser: ArgumentParser, settings: Namespace) -> int:
    """Runs the demonstration."""
    run_demo(settings.output, short=settings.quick, jobs=settings.jobs)
    return 0
