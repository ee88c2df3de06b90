"""The command `anyteacher`: its subcommands, their settings, and errors a person can act on."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, Namespace
from lightning.pytorch import Trainer
from torch import nn

from anyteacher import __version__, commands
from anyteacher import data as _data  # noqa: F401  (its classes become known by name)
from anyteacher import tasks as _tasks  # noqa: F401
from anyteacher.data.loading import DataModule
from anyteacher.errors import AnyteacherError, did_you_mean
from anyteacher.experiment import CONFIG, Distillation
from anyteacher.hints import catalogue, explain
from anyteacher.normalization import ImageNorm
from anyteacher.optimization import Optimization
from anyteacher.tasks.base import Task
from anyteacher.teacher import Teacher

Handler: TypeAlias = Callable[[ArgumentParser, Namespace], int]

# Decided by the command itself, or of no use with it.
_NOT_TRAINER = {
    "logger",
    "default_root_dir",
    "enable_checkpointing",
    "gradient_clip_val",
    "barebones",
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
    parser.add_class_arguments(ImageNorm, "images_norm")
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


def _taps(parser: ArgumentParser) -> Handler:
    parser.add_argument(
        "model",
        help="timm:NAME, torchvision:NAME, transformers:FOLDER or an import path (package.Class).",
    )
    parser.add_argument("--student", default="", help="Another model: suggest pairs of layers.")
    parser.add_argument("--size", type=tuple[int, int], default=(224, 224), help="Of the images.")
    parser.add_argument("--channels", type=int, default=3, help="Of the images.")
    return commands.taps


def _rooms(parser: ArgumentParser) -> Handler:
    parser.add_argument("--show", type=Path, default=Path("rooms.png"), help="PNG file to write.")
    parser.add_argument("--split", default="train", help="train, val or test.")
    parser.add_argument("--count", type=int, default=8, help="Scenes on the sheet.")
    parser.add_argument("--size", type=tuple[int, int], default=(128, 128), help="Of the pictures.")
    parser.add_argument("--seed", type=int, default=0, help="Of the scenes.")
    return commands.rooms


def _demo(parser: ArgumentParser) -> Handler:
    parser.add_argument("--quick", action="store_true", help="Prove that it runs, in a minute.")
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), help="Folder to write.")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of torch; 0: all.")
    return commands.demo


_COMMANDS: dict[str, tuple[str, Callable[[ArgumentParser], Handler]]] = {
    "fit": ("Train a student, with or without a teacher.", _fit),
    "validate": ("Metrics of a trained student on the validation data.", _evaluation("val")),
    "test": ("Metrics of a trained student on the test data.", _evaluation("test")),
    "predict": ("Predictions of a trained student for a folder of images.", _predict),
    "taps": ("List the layers of a model that can be tapped.", _taps),
    "rooms": ("Write a contact sheet of the generated scenes.", _rooms),
    "demo": ("The whole story on built-in data, with a report.", _demo),
}


def make_parser(command: str) -> tuple[ArgumentParser, Handler]:
    """The parser of one subcommand and what it runs."""
    description, add = _COMMANDS[command]
    parser = ArgumentParser(
        prog=f"anyteacher {command}", description=description, exit_on_error=False
    )
    handler = add(parser)
    if command == "fit":
        parser.epilog = catalogue()
    return parser, handler


def overview() -> str:
    """The help of the command as a whole."""
    lines = [f"  {name:10s}{text}" for name, (text, _) in _COMMANDS.items()]
    return "\n".join(
        [
            "usage: anyteacher COMMAND [settings]",
            "",
            "Train small vision models with a teacher of another task, or with none.",
            "",
            *lines,
            "",
            "`anyteacher COMMAND --help` lists the settings of one; `--version` the version.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status, 2 for anything wrong with the input."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    command, rest = given[0], given[1:]
    if command in ("-h", "--help", "--version"):
        print(overview() if command != "--version" else f"anyteacher {__version__}")
        return 0
    if command not in _COMMANDS:
        return _fail("anyteacher", f"no command '{command}'. {did_you_mean(command, _COMMANDS)}")
    parser, handler = make_parser(command)
    name = f"anyteacher {command}"
    try:
        return handler(parser, parser.parse_args(_with_run_config(command, rest)))
    except ArgumentError as error:
        return _fail(name, explain(str(error), parser))
    except AnyteacherError as error:
        return _fail(name, str(error))


def _with_run_config(command: str, rest: list[str]) -> list[str]:
    """Puts the configuration of the named run before the flags, which then override it."""
    if command in ("validate", "test", "predict") and rest and not rest[0].startswith("-"):
        config = Path(rest[0]) / CONFIG
        if not config.is_file():
            raise SystemExit(
                _fail(f"anyteacher {command}", f"'{rest[0]}' is no run: it has no {CONFIG}.")
            )
        return [rest[0], f"--config={config}", *rest[1:]]
    return rest


def _fail(name: str, message: str, status: int = 2) -> int:
    print(f"{name}: {message}", file=sys.stderr)
    return status


def script() -> None:
    """The entry point: exits with the status."""
    raise SystemExit(main())


if __name__ == "__main__":
    script()
