"""Experiments made from the settings that the command has read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from anyteacher import experiment
from anyteacher.data.loading import DataModule
from anyteacher.downloads import not_made
from anyteacher.errors import ConfigError
from anyteacher.hints import cause
from anyteacher.tasks.base import Task
from anyteacher.unfinished import way_on

# In the order in which they are made. Data come before models, so that a missing folder is said
# before weights are fetched.
_PARTS = ("distillation", "optimization", "images_norm", "data", "task", "student", "teacher")


def instantiate(
    parser: ArgumentParser, settings: Namespace, *, with_data: bool = True
) -> tuple[experiment.Experiment, dict[str, Any]]:
    """The experiment, and the arguments of the Trainer.

    Args:
        parser: Which has read the settings.
        settings: Those of a whole experiment.
        with_data: Whether the data will be read.

    Raises:
        AnyteacherError: what a constructor raises, and where its data or weights cannot be had.
    """
    experiment.set_threads(settings.threads)
    experiment.seed_all(settings.seed)
    trainer = _made(parser, "trainer", settings)
    parts = {}
    for name in _PARTS:
        parts[name] = _made(parser, name, settings)
        if name == "data" and with_data:
            parts[name].check_there()
    return experiment.Experiment(**parts), dict(vars(trainer))


def _made(parser: ArgumentParser, name: str, settings: Namespace) -> Any:
    """A part of the experiment."""
    try:
        return parser.instantiate(Namespace({name: settings[name]}))[name]
    except Exception as error:
        # The parser wraps what a constructor raises in an account of its own attempts.
        own = cause(error) or not_made(name, _plain(settings[name]), error)
        if own is None:
            raise
        raise own from error


def _plain(value: Any) -> Any:
    return value.as_dict() if isinstance(value, Namespace) else value


def instantiate_alone(
    parser: ArgumentParser, settings: Namespace, *, with_data: bool = True
) -> tuple[experiment.Experiment, dict[str, Any]]:
    """The same without what a trained student needs no more: a teacher may be large, or gone."""
    settings.teacher = None
    settings.distillation.links, settings.distillation.method = [], ""
    return instantiate(parser, settings, with_data=with_data)


def instantiate_data(parser: ArgumentParser, settings: Namespace) -> tuple[DataModule, Task]:
    """The data and the task of an experiment: to look at data no model is needed, nor its weights.

    Raises:
        AnyteacherError: what their constructors raise, and where the data are missing.
    """
    experiment.seed_all(settings.seed)
    data: DataModule = _made(parser, "data", settings)
    data.check_there()
    task: Task = _made(parser, "task", settings)
    return data, task


def finished(folder: Path, *, replaceable: bool = True) -> Path:
    """The weights of the student that a run has left.

    Args:
        folder: Of the run.
        replaceable: Whether the command takes other weights by `--weights`, for the message.

    Raises:
        ConfigError: when it has left none yet.
    """
    path = folder / experiment.STUDENT
    if not path.is_file():
        other = ", or name other weights (--weights)" if replaceable else ""
        raise ConfigError(
            f"The run in '{folder}' is not finished: it has no {path.name}. "
            f"{way_on(folder)}{other}."
        )
    return path


def image_shape(folder: Path) -> tuple[int, int, int]:
    """Channels, height and width of the images that a run was trained on.

    Raises:
        ConfigError: when the run is not finished, and does not say so yet.
    """
    path = folder / experiment.INFO
    if not path.is_file():
        raise ConfigError(
            f"The run in '{folder}' is not finished: it has no {path.name}, which says what images "
            f"it was trained on. {way_on(folder)}."
        )
    channels, height, width = json.loads(path.read_text())["image"]
    return channels, height, width


def flattened(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested settings with their dotted names; of lists, by position."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flattened(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and value:
        for position, inner in enumerate(value):
            yield from flattened(inner, f"{name}[{position}]")
    else:
        yield name, value
