"""Experiments made from the settings that the command has read."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from anyteacher import experiment
from anyteacher.errors import ConfigError
from anyteacher.hints import cause


def instantiate(
    parser: ArgumentParser, settings: Namespace
) -> tuple[experiment.Experiment, dict[str, Any]]:
    """The experiment, and the arguments of the Trainer."""
    experiment.set_threads(settings.threads)
    experiment.seed_all(settings.seed)
    try:
        made = parser.instantiate(settings)
    except Exception as error:
        # The parser wraps what a constructor raises in an account of its own attempts.
        own = cause(error)
        if own is None:
            raise
        raise own from error
    names = [field.name for field in fields(experiment.Experiment)]
    return experiment.Experiment(**{n: getattr(made, n) for n in names}), dict(vars(made.trainer))


def instantiate_alone(
    parser: ArgumentParser, settings: Namespace
) -> tuple[experiment.Experiment, dict[str, Any]]:
    """The same without what a trained student needs no more: a teacher may be large, or gone."""
    settings.teacher = None
    settings.distillation.links, settings.distillation.method = [], ""
    return instantiate(parser, settings)


def finished(folder: Path) -> Path:
    """The weights of the student that a run has left.

    Raises:
        ConfigError: when it has left none yet.
    """
    path = folder / experiment.STUDENT
    if not path.is_file():
        raise ConfigError(
            f"The run in '{folder}' is not finished: it has no {path.name}. Go on with "
            f"`anyteacher fit --resume --output {folder}`, or name other weights "
            "(--weights)."
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
            f"it was trained on. Go on with `anyteacher fit --resume --output {folder}`."
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
