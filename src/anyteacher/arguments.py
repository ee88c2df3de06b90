"""What becomes of the arguments of a command before the parser sees them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from anyteacher.errors import ConfigError, require

_CONFIG, _LINKS = "--config", "--distillation.links"
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
    if not resume or not (run / "checkpoints" / "last.ckpt").exists():
        settings = any(word.startswith(("--task", "--student", "--data")) for word in rest)
        if resume and not after_files and not settings:
            raise ConfigError(
                f"'{run}' holds no run to go on with: it has no checkpoints/last.ckpt. Give the "
                "folder of a run that has begun, or the settings of a new one (--config)."
            )
        return rest  # nothing to go on from: a new run, with the settings of now
    config = run / "config.yaml"
    own = [f"{_CONFIG}={config}"] if config.is_file() else []
    return [*rest[:after_files], *own, *rest[after_files:]]


def _each(rest: list[str]) -> Iterator[Given]:
    """The arguments one by one, `--flag value` like `--flag=value` where the flag takes a value."""
    words = iter(rest)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in (_CONFIG, "--output") and not equals:
            following = next(words, None)
            yield Given(flag, following or "", (word,) if following is None else (word, following))
        else:
            yield Given(flag, value, (word,))


def _read(path: str) -> dict[str, Any]:
    """The settings in a file; none where it is not one of settings, which the parser will say."""
    yaml = require("yaml")
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
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
    """Empties the list of links before it is set again: links would inherit from former ones."""
    written: list[str] = []
    for given in _each(rest):
        again = given.flag == _LINKS
        if given.flag == _CONFIG:
            distillation = _read(given.value).get("distillation")
            again = isinstance(distillation, dict) and "links" in distillation
        written += [f"{_LINKS}=[]", *given.words] if again else given.words
    return written
