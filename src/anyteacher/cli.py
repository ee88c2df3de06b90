"""The command `anyteacher`: its subcommands, and errors that a person can act on."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from anyteacher import __version__
from anyteacher.errors import AnyteacherError, did_you_mean, require

COMMANDS = {
    "fit": "Train a student, with or without a teacher.",
    "validate": "Metrics of a trained student on the validation data.",
    "test": "Metrics of a trained student on the test data.",
    "predict": "Predictions of a trained student for a folder of images.",
    "export": "The student of a run alone: safetensors, torch.export, ONNX.",
    "data": "Check a data set: read all of it, and report what it holds and what is broken.",
    "analyze": "What projectors and losses have done to the features of runs, as a page.",
    "teachers": "List where teachers come from, what is installed, and an example of each.",
    "taps": "List the layers of a model that can be tapped.",
    "rooms": "Write a contact sheet of the generated scenes.",
    "bench": "Try the paper's claims on a grid of runs, and report what they show.",
    "demo": "The whole story on built-in data, with a report.",
}


def overview() -> str:
    """The help of the command as a whole."""
    return "\n".join(
        [
            "usage: anyteacher COMMAND [settings]",
            "",
            "Train small vision models with a teacher of another task, or with none.",
            "",
            *(f"  {name:10s}{text}" for name, text in COMMANDS.items()),
            "",
            "`anyteacher COMMAND --help` lists the settings of one; `--version` the version.",
        ]
    )


_GOES_ON = {
    "fit": " The same command with --resume goes on.",
    "bench run": " The same command goes on.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status, 2 for anything wrong with the input."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    command, rest = given[0], given[1:]
    if command in ("-h", "--help", "--version"):
        print(overview() if command != "--version" else f"anyteacher {__version__}")
        return 0
    if command not in COMMANDS:
        return _fail("anyteacher", f"no command '{command}'. {did_you_mean(command, COMMANDS)}")
    try:
        return _run(command, rest)
    except AnyteacherError as error:
        return _fail(f"anyteacher {command}", _message(error))
    except (KeyboardInterrupt, SystemExit) as error:
        if not _was_interrupted(error):
            raise
        go_on = _GOES_ON.get(" ".join(given[:2]), _GOES_ON.get(command, ""))
        return _fail(f"anyteacher {command}", f"interrupted.{go_on}", 130)


def _message(error: AnyteacherError) -> str:
    """What an error says, without the traceback that torch puts before one of a worker process."""
    own = f"{type(error).__module__}.{type(error).__qualname__}: "
    text = str(error)
    return text.rpartition(own)[2].strip() if text.startswith("Caught ") else text


def _was_interrupted(error: BaseException) -> bool:
    """Whether someone pressed Ctrl-C; Lightning turns that into an exit."""
    return isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)


def _run(command: str, rest: list[str]) -> int:
    # Imported now: Lightning and what it brings take seconds, which `--help` need not wait for.
    require("jsonargparse")
    parsers = importlib.import_module("anyteacher.parsers")
    return int(parsers.call(command, rest, COMMANDS[command]))


def _fail(name: str, message: str, status: int = 2) -> int:
    print(f"{name}: {message}", file=sys.stderr)
    return status


def script() -> None:
    """The entry point: finds modules in the folder it is called in, exits with the status."""
    sys.path.insert(0, str(Path.cwd()))
    raise SystemExit(main())


if __name__ == "__main__":
    script()
