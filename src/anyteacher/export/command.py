"""`anyteacher export`: writes the student of a run by itself."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace

from anyteacher import __version__
from anyteacher.errors import ConfigError, did_you_mean, require
from anyteacher.experiment import Experiment
from anyteacher.export.formats import FORMATS, Order
from anyteacher.instantiation import finished, image_shape, instantiate_alone
from anyteacher.pictures import palette
from anyteacher.readout import PixelClasses
from anyteacher.report import say
from anyteacher.student import Student
from anyteacher.weights import load_weights


def export(parser: ArgumentParser, settings: Namespace) -> int:
    """Writes the student of a run in every format that is asked for, and says what was written."""
    for name in settings.format:
        if name not in FORMATS:
            raise ConfigError(f"No format '{name}'. {did_you_mean(name, FORMATS)}")
    if settings.size and min(settings.size) < 1:
        given = " ".join(map(str, settings.size))
        raise ConfigError(f"Images need at least one pixel, got --size {given}.")
    made, _ = instantiate_alone(parser, settings)
    load_weights(made.student, settings.weights or finished(settings.run))
    image = image_shape(settings.run)
    plain = require("yaml").safe_load(parser.dump(settings, skip_unset=False))
    height, width = settings.size or image[1:]
    order = Order(
        student=alone(made, plain, image),
        folder=settings.output or settings.run / "export",
        channels=image[0],
        size=(height, width),
        check=settings.check,
    )
    for name in dict.fromkeys(settings.format):
        written = FORMATS[name](order)
        found = written.difference
        checked = "" if found is None else f", and differs by {found:.1e} of the output's range"
        say(f"{written.path} takes {written.takes}{checked}.")
        if written.why:
            say(f"It takes no more: {written.why}.")
    return 0


def alone(made: Experiment, plain: Mapping[str, Any], image: tuple[int, int, int]) -> Student:
    """The student of an experiment without the experiment.

    Args:
        made: The experiment, its student with its weights.
        plain: The settings, of which those of student and task are kept.
        image: Channels, height and width of the training images.
    """
    norm, readout = made.images_norm or made.data.facts().norm, made.task.readout()
    colors = {1: "grey", 3: "RGB"}.get(image[0], "values")
    of_task: dict[str, Any] = {}
    if hasattr(made.task, "classes"):
        of_task["classes"] = made.task.classes
    if isinstance(readout, PixelClasses):
        of_task["palette"] = [bytes(c).hex() for c in palette()[: made.task.out_channels].tolist()]
    path = f"{type(made.task).__module__}.{type(made.task).__qualname__}"
    description = {
        "made_with": {"anyteacher": __version__, "torch": str(torch.__version__)},
        "student": without_downloads(plain["student"]),
        "task": plain["task"],
        **of_task,
        "input": f"(batch, {image[0]}, height, width), float32, {colors} in [0, 1]; they are "
        "normalised inside",
        "norm": asdict(norm),
        "trained_on": list(image[1:]),
        "output": readout.meaning if readout else f"what prediction of {path} gives",
        "readout": {
            "class_path": f"{type(readout).__module__}.{type(readout).__qualname__}",
            "init_args": asdict(readout),
        }
        if readout
        else plain["task"],
    }
    return Student(made.student, norm=norm, readout=readout or made.task, description=description)


def without_downloads(value: Any) -> Any:
    """Settings of a model without the names of weights that it would fetch: it has its own.

    Those are words given as `…weights` or `checkpoint_path`, and `pretrained`.
    """
    if isinstance(value, list):
        return [without_downloads(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    kept: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, str) and name.endswith(("weights", "weights_backbone")):
            kept[name] = None
        elif isinstance(inner, str) and name == "checkpoint_path":
            kept[name] = ""
        else:
            kept[name] = False if name == "pretrained" else without_downloads(inner)
    return kept
