"""One clear line for a wrong flag or setting, with the nearest known name."""

import importlib
import inspect
import re
from collections.abc import Callable

from jsonargparse import ArgumentParser

from anyteacher import models
from anyteacher.data.loading import DataModule
from anyteacher.errors import AnyteacherError, did_you_mean
from anyteacher.losses import Loss
from anyteacher.methods.about import known
from anyteacher.objective import Objective
from anyteacher.projectors import LevelProjector, Projector
from anyteacher.regularizers import Regularizer
from anyteacher.tasks.base import Task
from anyteacher.teacher import Teacher

KINDS: dict[str, tuple[type, ...]] = {
    "tasks": (Task,),
    "data": (DataModule,),
    "teachers": (Teacher,),
    "losses": (Loss,),
    "regularizers": (Regularizer,),
    "projectors": (Projector, LevelProjector),
}

_LIKE = {"tuple": "list such as [1, 2]"}
"""What to write for a type of Python."""

_KIND_OF: dict[str, tuple[type, ...]] = {
    "task": (Task,),
    "data": (DataModule,),
    "teacher": (Teacher,),
    "loss": (Objective,),
    "projector": (Projector, LevelProjector),
}


def known_classes(*bases: type) -> list[type]:
    """The concrete public classes below a base, by name. The types are the registry."""
    found: dict[str, type] = {}
    stack = list(bases)
    while stack:
        cls = stack.pop()
        stack += cls.__subclasses__()
        public = cls.__module__.startswith("anyteacher.") and not cls.__name__.startswith("_")
        if public and not inspect.isabstract(cls):
            found[cls.__name__] = cls
    return [found[name] for name in sorted(found)]


def catalogue() -> str:
    """What can be named in a configuration, a line each, for the help."""
    lines = [
        f"  {kind + ':':14s}{', '.join(cls.__name__ for cls in known_classes(*bases))}"
        for kind, bases in KINDS.items()
    ]
    lines.append(f"  {'methods:':14s}{', '.join(known())}")
    lines.append(f"  {'students:':14s}{', '.join(_students())}, or any torch module")
    return (
        "Known by name (any other class by its import path):\n" + "\n".join(lines) + "\n\n"
        "--task.help NAME, --data.help NAME, … list the settings of a class."
    )


def cause(error: BaseException) -> AnyteacherError | None:
    """The error of this library that another one was raised from, if any."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, AnyteacherError):
        seen = seen.__cause__ or seen.__context__
    return seen


def explain(message: str, parser: ArgumentParser) -> str:
    """A message of the parser in one line, with the nearest known name where a name is wrong."""
    keys = list(dict.fromkeys(re.findall(r'[Pp]arser key "([\w.]+)":', message)))
    where = f"{'.'.join(keys)}: " if keys else ""
    for pattern, rule in _RULES.items():
        if match := re.search(pattern, message):
            return where + rule(match, keys, parser)
    return where + re.sub(r'^Parser key "[\w.]+":', "", re.sub(r"\s+", " ", message)).strip()


def _unknown_setting(match: re.Match[str], keys: list[str], parser: ArgumentParser) -> str:
    name = ".".join(part for part in match.groups() if part)
    whole = ".".join([*keys, name])
    if numbered := re.fullmatch(r"([\w.]+?)(?:\.\d+|\[\d+\])\.([\w.]+)", whole):
        items, setting = numbered.groups()
        return (
            f"no setting '{name}': what is in a list has no number. Write --{items}.{setting} "
            f"VALUE for the last one, or all of them: --{items}='[{{…}}, {{…}}]', or in the file."
        )
    if classes := re.findall(r"class_path '([\w.]+)'", match.string[: match.start()]):
        known = did_you_mean(name, _parameters(classes[-1]))
        return f"{classes[-1]} takes no '{name}'. {known}"
    return f"no setting '{name}'. {did_you_mean(name, _options(parser))}"


def _no_class(match: re.Match[str], keys: list[str], parser: ArgumentParser) -> str:
    path = match[1]
    module, _, name = path.rpartition(".")
    if module:
        try:
            found = importlib.import_module(module)
        except ImportError as error:
            return f"no class '{path}': its module cannot be imported ({error})."
        known = [entry for entry in dir(found) if inspect.isclass(getattr(found, entry))]
        return f"no class '{path}'. {did_you_mean(name, known)}"
    bases = _KIND_OF.get(keys[-1] if keys else "")
    known = [cls.__name__ for cls in known_classes(*bases)] if bases else _students()
    return f"no class '{path}'. {did_you_mean(path, known)} Other classes go by their import path."


def _no_settings(match: re.Match[str], keys: list[str], parser: ArgumentParser) -> str:
    given = match[1]
    method = " For a method write {method: NAME}, or the flag --distillation NAME."
    return f"'{given}' is no file of settings.{method if keys == ['distillation'] else ''}"


def _missing(match: re.Match[str], keys: list[str], parser: ArgumentParser) -> str:
    names = match[1].split(", ")
    if {"run", "runs"} & set(names):
        return "give the folder of a run made by `anyteacher fit`."
    if any(name.endswith(".records") for name in names):
        return (
            "give the folder of `anyteacher bench run`, or the file of `anyteacher bench gather`."
        )
    return f"{', '.join(names)} must be given, by a flag or in a --config file."


def _no_choice(match: re.Match[str], keys: list[str], parser: ArgumentParser) -> str:
    given = _given(match.string)
    return f"'{given}' is no choice. {did_you_mean(given, re.findall(r'[a-z_0-9]+', match[1]))}"


def _abstract(match: re.Match[str], keys: list[str], parser: ArgumentParser) -> str:
    path = _given(match.string)
    module, _, name = path.rpartition(".")
    lacking = getattr(importlib.import_module(module), name).__abstractmethods__
    kind = f"every {keys[-1]} has" if keys else "it must have"
    return f"'{path}' lacks what {kind}: {', '.join(sorted(lacking))}."


def _wrong_type(match: re.Match[str], keys: list[str], parser: ArgumentParser) -> str:
    types = re.findall(r"Expected (?:an? )?<class '(?:\w+\.)*(\w+)'>", match.string)
    wanted = [_LIKE.get(name, name) for name in dict.fromkeys(types) if name != "NoneType"]
    return f"'{_given(match.string)}' is no {' or '.join(wanted) or 'valid value'}."


_RULES: dict[str, Callable[[re.Match[str], list[str], ArgumentParser], str]] = {
    r"unrecognized arguments: --([^\s=]+)": _unknown_setting,
    r"Group '([\w.]+)' does not accept option '([\w.]+)'": _unknown_setting,
    r"[Kk]ey '([\w.]+)' is not expected": _unknown_setting,
    r"[Oo]ption '([\w.]+)' is not accepted": _unknown_setting,
    r"import path string: (\S+)": _no_class,
    r"class_path '([\w.]+)':\s+(?:No module named|module ')": _no_class,
    r"arguments are required: ([\w., -]+)": _missing,
    r"Unable to load config ['\"]([^'\"]*)": _no_settings,
    r"Literal\[([^]]+)\]": _no_choice,
    r"Expected an instantiatable class, but is abstract": _abstract,
    r"Expected (?:an? )?<class": _wrong_type,
}


def _given(message: str) -> str:
    nested = re.findall(r"NestedArg\(key='[^']*', val='?([^')]*)", message)
    plain = re.findall(r"(?:Got|Given) value: (.+)", message)
    return str((nested or plain or ["what was given"])[-1]).strip()


def _students() -> list[str]:
    return [f"anyteacher.models.{name}" for name in models.__all__]


def _options(parser: ArgumentParser) -> set[str]:
    """The settings of a command, those of what it can be asked for included."""
    own = {
        option.removeprefix("--").removesuffix("+")
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--") and not option.endswith(".help")
    }
    asked = [a.choices for a in parser._actions if isinstance(a.choices, dict)]
    return own.union(*(_options(part) for parts in asked for part in parts.values()))


def _parameters(path: str) -> list[str]:
    """What a class takes, by the import path under which the parser found it."""
    module, _, name = path.rpartition(".")
    return list(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
