"""The settings of every subcommand, and what runs it."""

import re
from argparse import Action, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from jsonargparse import (
    ActionConfigFile,
    ArgumentError,
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
)
from jsonargparse.typing import NonNegativeInt
from lightning.pytorch import Trainer
from torch import nn

from anyteacher import commands, export, findings, listings
from anyteacher import data as _data  # noqa: F401  (its classes become known by name)
from anyteacher import tasks as _tasks  # noqa: F401
from anyteacher.arguments import prepared
from anyteacher.bench.command import add_actions, bench
from anyteacher.check import SHOWN
from anyteacher.data.loading import DataModule
from anyteacher.distillation import Distillation
from anyteacher.errors import ConfigError
from anyteacher.hints import catalogue, explain
from anyteacher.normalization import ImageNorm
from anyteacher.optimization import Optimization
from anyteacher.tasks.base import Task
from anyteacher.teacher import Teacher
from anyteacher.teachers.written import FORMS

Handler: TypeAlias = Callable[[ArgumentParser, Namespace], int]

# Decided by the command itself, or of no use with it.
_NOT_TRAINER = {
    "logger",
    "default_root_dir",
    "enable_checkpointing",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "barebones",
    "model_registry",
    "enable_autolog_hparams",
}


def _add_experiment(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file with any of these.")
    parser.add_argument("--seed", type=int, default=0, help="Of weights and of every random draw.")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of torch; 0: all.")
    parser.add_subclass_arguments(Task, "task", required=True, help="What the student learns.")
    parser.add_subclass_arguments(nn.Module, "student", required=True, help="The model to train.")
    parser.add_subclass_arguments(DataModule, "data", required=True, help="Images and targets.")
    parser.add_argument(
        "--teacher",
        type=Teacher | dict[str, Teacher] | None,
        default=None,
        help="A teacher, several by name, or none.",
    )
    parser.add_class_arguments(Distillation, "distillation")
    parser.add_class_arguments(Optimization, "optimization")
    parser.add_argument(
        "--images_norm",
        type=ImageNorm | None,
        default=None,
        help="How images in [0, 1] are normalised; null: as is usual with the data.",
    )
    parser.add_class_arguments(Trainer, "trainer", instantiate=False, skip=_NOT_TRAINER)
    defaults = {"max_epochs": 30, "log_every_n_steps": 10, "enable_model_summary": False}
    parser.set_defaults({f"trainer.{name}": value for name, value in defaults.items()})


def _fit(parser: ArgumentParser) -> Handler:
    _add_experiment(parser)
    parser.add_argument("--output", type=Path, default=Path("runs/fit"), help="Folder of the run.")
    parser.add_argument("--resume", action="store_true", help="Go on from the last checkpoint.")
    parser.add_argument(
        "--checkpoint_every", type=int, default=0, help="Steps between checkpoints; 0: each epoch."
    )
    return commands.fit


def _evaluation(split: str) -> Callable[[ArgumentParser], Handler]:
    def add(parser: ArgumentParser) -> Handler:
        parser.add_argument("run", type=Path, help="Folder of a run made by `fit`.")
        parser.add_argument(
            "--weights", type=Path, default=None, help="Instead of the run's best student."
        )
        _add_experiment(parser)
        return commands.evaluation(split)

    return add


def _predict(parser: ArgumentParser) -> Handler:
    parser.add_argument("run", type=Path, help="Folder of a run made by `fit`.")
    parser.add_argument("--images", type=Path, required=True, help="Folder of images, or one.")
    parser.add_argument("--output", type=Path, default=Path("predictions"), help="Where to.")
    parser.add_argument("--weights", type=Path, default=None, help="Instead of the best student.")
    parser.add_argument(
        "--resolution",
        type=int,
        default=-1,
        help="Shorter side in pixels that the student sees; -1: as in training, 0: the own size.",
    )
    _add_experiment(parser)
    return commands.predict


def _export(parser: ArgumentParser) -> Handler:
    parser.add_argument("run", type=Path, help="Folder of a run made by `fit`.")
    parser.add_argument(
        "--format",
        nargs="+",
        default=["safetensors"],
        help="One or several of safetensors, torch (torch.export), onnx.",
    )
    parser.add_argument(
        "--output", type=Path, default=None, help="Folder to write; export in the run."
    )
    parser.add_argument("--weights", type=Path, default=None, help="Instead of the best student.")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=None,
        help="Height and width of graphs that take no other; those of training.",
    )
    parser.add_argument(
        "--check", type=bool, default=True, help="Whether files are compared with the student."
    )
    _add_experiment(parser)
    return export.export


def _check_data(parser: ArgumentParser) -> Handler:
    parser.add_argument(
        "--shown", type=NonNegativeInt, default=SHOWN, help="How many broken files are named."
    )
    _add_experiment(parser)
    return commands.check_data


def _taps(parser: ArgumentParser) -> Handler:
    parser.add_argument(
        "model",
        help=f"{FORMS}.",
    )
    parser.add_argument("--student", default="", help="Another model: suggest pairs of layers.")
    parser.add_argument("--size", type=int, nargs=2, default=[224, 224], help="Height and width.")
    parser.add_argument("--channels", type=int, default=3, help="Of the images.")
    return listings.taps


def _teachers(parser: ArgumentParser) -> Handler:
    parser.add_argument(
        "--all", action="store_true", help="Examples of what is not installed, too."
    )
    return listings.teachers


def _analyze(parser: ArgumentParser) -> Handler:
    parser.add_argument("runs", type=Path, nargs="+", help="Folders of runs made by `fit`.")
    parser.add_argument(
        "--output",
        type=Path,
        default=None,
        help="The page; analysis.html in the run, or beside several.",
    )
    parser.add_argument(
        "--images", type=int, default=256, help="Validation images to measure each run on."
    )

    def of_experiment() -> ArgumentParser:
        own = ArgumentParser(exit_on_error=False, allow_abbrev=False, print_config=None)
        _add_experiment(own)
        return own

    return lambda _, settings: findings.analyze(of_experiment, settings)


def _rooms(parser: ArgumentParser) -> Handler:
    parser.add_argument("--show", type=Path, default=Path("rooms.png"), help="PNG file to write.")
    parser.add_argument("--split", default="train", help="train, val or test.")
    parser.add_argument("--count", type=int, default=8, help="Scenes on the sheet.")
    parser.add_argument("--size", type=int, nargs=2, default=[128, 128], help="Height and width.")
    parser.add_argument("--seed", type=int, default=0, help="Of the scenes.")
    return commands.rooms


def _demo(parser: ArgumentParser) -> Handler:
    parser.add_argument("--quick", action="store_true", help="Prove that it runs, in a minute.")
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), help="Folder to write.")
    parser.add_argument("--jobs", type=int, default=0, help="Trainings at a time; 0: one a core.")
    return commands.demo


def _bench(parser: ArgumentParser) -> Handler:
    add_actions(parser)
    return lambda _, settings: bench(call, settings)


_SETTINGS: dict[str, Callable[[ArgumentParser], Handler]] = {
    "fit": _fit,
    "validate": _evaluation("val"),
    "test": _evaluation("test"),
    "predict": _predict,
    "export": _export,
    "data": _check_data,
    "analyze": _analyze,
    "taps": _taps,
    "teachers": _teachers,
    "rooms": _rooms,
    "demo": _demo,
    "bench": _bench,
}


class _Formatter(DefaultHelpFormatter):  # type: ignore[misc]
    """Leaves out the hundreds of classes that torch and Lightning have; keeps the epilog's lines.

    Those that matter are in the epilog.
    """

    def _get_help_string(self, action: Action) -> str:
        text = super()._get_help_string(action) or ""
        return re.sub(r", known subclasses: [^()]*", "", text)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return RawDescriptionHelpFormatter._fill_text(self, text, width, indent)


def make_parser(command: str, description: str) -> tuple[ArgumentParser, Handler]:
    """The parser of one subcommand, and what runs it."""
    parser = ArgumentParser(
        prog=f"anyteacher {command}",
        description=description,
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=_Formatter,
        print_config=None,  # a run holds its whole configuration
    )
    handler = _SETTINGS[command](parser)
    if command == "fit":
        parser.usage = "anyteacher fit --config FILE [--SETTING VALUE …]"
        parser.epilog = catalogue()
    elif command in ("validate", "test"):
        parser.usage = f"anyteacher {command} RUN [--SETTING VALUE …]"
    elif command == "data":
        parser.usage = "anyteacher data check CONFIG [--data.SETTING VALUE …]"
    elif command == "predict":
        parser.usage = "anyteacher predict RUN --images FOLDER [--SETTING VALUE …]"
    elif command == "export":
        parser.usage = "anyteacher export RUN [--format FORMAT …] [--output FOLDER] [--SETTING …]"
    elif command == "analyze":
        parser.usage = "anyteacher analyze RUN … [--output FILE] [--images N]"
    return parser, handler


def call(command: str, rest: list[str], description: str = "") -> int:
    """Runs a subcommand with its arguments; returns its exit status.

    Raises:
        ConfigError: when the arguments are wrong.
    """
    parser, handler = make_parser(command, description)
    try:
        settings = parser.parse_args(prepared(command, rest))
    except ArgumentError as error:
        raise ConfigError(explain(str(error), parser)) from error
    return int(handler(parser, settings))
