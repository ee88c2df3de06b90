"""What becomes of the arguments of a command before the parser sees them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from anyteacher.errors import ConfigError, require
from anyteacher.unfinished import last_checkpoint, way_on

_CONFIG, _LINKS = "--config", "--distillation.links"
_PART = re.compile(re.escape(_LINKS) + r"\.(loss|projector)(?:\.(?:init_args\.)?(\w+))?")
_DEFAULT_OUTPUT = "runs/fit"


class Given(NamedTuple):
    """One argument: the flag, its value, and the words that it was written in."""

    flag: str
    value: str
    words: tuple[str, ...]


def prepared(command: str, rest: list[str]) -> list[str]:
    """The arguments as the parser is to have them: a run's own settings put in, names written out.

    Raises:
        ConfigError: when a run is named, or to be gone on with, and there is none, or something
            else is to be done with data than to check it.
    """
    if command in ("validate", "test", "predict", "export"):
        rest = _of_run(rest)
    elif command == "fit":
        rest = _resumed(rest)
    elif command == "data":
        rest = _of_check(rest)
    return _afresh(_by_method(rest))


def _of_run(rest: list[str]) -> list[str]:
    """Puts the configuration of the named run before the flags, which then override it."""
    if not rest or rest[0].startswith("-"):
        return rest
    config = Path(rest[0]) / "config.yaml"
    if not config.is_file():
        raise ConfigError(
            f"'{rest[0]}' is no run: it has no {config.name}. Give the folder of a run made "
            "by `anyteacher fit`."
        )
    return [rest[0], f"{_CONFIG}={config}", *rest[1:]]


def _of_check(rest: list[str]) -> list[str]:
    """Takes off the word `check`, the one thing to do with data, and makes a flag of the file."""
    if not rest or rest[0] in ("-h", "--help"):
        return rest or ["--help"]
    if rest[0] != "check":
        raise ConfigError(f"Nothing is called '{rest[0]}'. Write: anyteacher data check CONFIG")
    if len(rest) > 1 and not rest[1].startswith("-"):
        return [f"{_CONFIG}={rest[1]}", *rest[2:]]
    return rest[1:]


def _resumed(rest: list[str]) -> list[str]:
    """Puts the configuration of a run that is to go on behind the files that are given again.

    What the run was started with counts, and flags that follow the files override it, as they did
    when it was started.
    """
    resume, output, words = False, _DEFAULT_OUTPUT, 0
    after_files = 0
    for given in _each(rest):
        words += len(given.words)
        stated: dict[str, Any] = {}
        if given.flag == _CONFIG:
            after_files, stated = words, _read(given.value)
        elif given.flag == "--output":
            output = given.value
        elif given.flag == "--resume":
            resume = given.value.lower() not in ("false", "no")
        output, resume = str(stated.get("output", output)), bool(stated.get("resume", resume))
    run = Path(output)
    config = run / "config.yaml"
    if not resume or not last_checkpoint(run).exists():
        settings = any(word.startswith(("--task", "--student", "--data")) for word in rest)
        if resume and not after_files and not settings:
            other = "Give the folder of a run that has begun, or the settings of a new one"
            raise ConfigError(
                f"'{run}' holds no run to go on with: it has no checkpoints/last.ckpt. "
                f"{way_on(run) if config.is_file() else f'{other} (--config)'}."
            )
        return rest  # nothing to go on from: a new run, with the settings of now
    own = [f"{_CONFIG}={config}"] if config.is_file() else []
    return [*rest[:after_files], *own, *rest[after_files:]]


def _each(rest: list[str]) -> Iterator[Given]:
    """The arguments one by one, `--flag value` like `--flag=value` where the flag takes a value."""
    words = iter(rest)
    for word in words:
        flag, equals, value = word.partition("=")
        if (flag in (_CONFIG, "--output") or flag.startswith(_LINKS)) and not equals:
            following = next(words, None)
            yield Given(flag, following or "", (word,) if following is None else (word, following))
        else:
            yield Given(flag, value, (word,))


def _read(path: str) -> dict[str, Any]:
    """The settings in a file; none where it is not one of settings, which the parser will say.

    Raises:
        ConfigError: when it is no YAML, since the parser would not say which file that is.
    """
    yaml = require("yaml")
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError):
        return {}
    except yaml.YAMLError as error:
        problem, mark = getattr(error, "problem", error), getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"'{path}'{where} is no YAML: {problem}.") from error
    return content if isinstance(content, dict) else {}


def _by_method(rest: list[str]) -> list[str]:
    """Writes `--distillation fitnet` in full; what is no name of a method stays as it is."""
    flag, named = "--distillation", re.compile(r"[A-Za-z]\w*(\(.*\))?", re.ASCII)
    written: list[str] = []
    for part in rest:
        name, equals, value = part.partition("=")
        if written and written[-1] == flag and named.fullmatch(part):
            written[-1] = f"{flag}.method={part}"
        elif name == flag and equals and named.fullmatch(value):
            written.append(f"{flag}.method={value}")
        else:
            written.append(part)
    return written


def _afresh(rest: list[str]) -> list[str]:
    """Empties what is set as a whole before it is set again, or it would inherit what it was.

    That is the list of links, and the loss and the projector of one where their class is given.
    """
    written: list[str] = []
    for given in _each(rest):
        words = given.words
        if given.flag == _CONFIG:
            distillation = _read(given.value).get("distillation")
            if isinstance(distillation, dict) and "links" in distillation:
                words = (f"{_LINKS}=[]", *words)
        elif given.flag == _LINKS:
            words = (f"{_LINKS}=[]", *words)
        elif part := _PART.fullmatch(given.flag):
            words = _of_part(given, *part.groups())
        written += words
    return written


def _of_part(given: Given, part: str, setting: str | None) -> tuple[str, ...]:
    """A flag for the loss or the projector of a link, or for a setting of one."""
    yaml, flag = require("yaml"), f"{_LINKS}.{part}"
    try:
        value = yaml.safe_load(given.value)
    except yaml.YAMLError:
        return given.words  # for the parser to refuse
    if setting is None:
        named = isinstance(value, str) or (isinstance(value, dict) and "class_path" in value)
        return (f"{flag}=null", *given.words) if named else given.words
    # The parser makes the word None of a null for a setting within a list.
    return (f"{flag}={{{setting}: null}}",) if value is None and given.value else given.words
