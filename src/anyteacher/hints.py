"""One clear line for a wrong flag or setting, with the nearest known name."""

import inspect
import re

from jsonargparse import ArgumentParser

from anyteacher import models
from anyteacher.data.loading import DataModule
from anyteacher.errors import did_you_mean
from anyteacher.link import Link
from anyteacher.losses import FeatureLoss
from anyteacher.projectors import Projector
from anyteacher.tasks.base import Task
from anyteacher.teacher import Teacher

KINDS: dict[str, type] = {
    "tasks": Task,
    "data": DataModule,
    "teachers": Teacher,
    "losses": FeatureLoss,
    "projectors": Projector,
}


def known_classes(base: type) -> list[type]:
    """The concrete public classes below a base, by name. The types are the registry."""
    found: dict[str, type] = {}
    stack = [base]
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
        f"  {kind + ':':12s}{', '.join(cls.__name__ for cls in known_classes(base))}"
        for kind, base in KINDS.items()
    ]
    lines.append(f"  {'students:':12s}{', '.join(models.__all__)}, or any torch module by path")
    return "Known by name (any other class by its import path):\n" + "\n".join(lines)


def explain(message: str, parser: ArgumentParser) -> str:
    """A message of the parser in one line, with the nearest known name where a name is wrong."""
    key = re.search(r'[Pp]arser key "([\w.]+)":', message)
    where = f"{key[1]}: " if key else ""
    if match := re.search(r"unrecognized arguments: --(\S+)", message):
        name = match[1].partition("=")[0]
        return f"no setting '{name}'. {did_you_mean(name, _options(parser))}"
    if match := re.search(r"class_path '([\w.]+)':.*?ption '(\w+)' is not acc", message, re.S):
        known = did_you_mean(match[2], _parameters(match[1]))
        return f"{where}{match[1]} takes no '{match[2]}'. {known}"
    if match := re.search(r"[Kk]ey '([\w.]+)' is not expected", message):
        options = {option.split(".")[-1] for option in _options(parser)}
        known = options | set(inspect.signature(Link).parameters)
        name = match[1].split(".")[-1]
        return f"{where}no setting '{match[1]}'. {did_you_mean(name, known)}"
    if match := re.search(r"import path string: (\S+)", message):
        names = {cls.__name__ for base in KINDS.values() for cls in known_classes(base)}
        known = did_you_mean(match[1], names | set(models.__all__))
        return f"{where}no class '{match[1]}'. {known} Other classes go by their import path."
    if match := re.search(
        r"Expected a typing\.Literal\[([^]]+)\].*Given value: (\S+)", message, re.S
    ):
        known = did_you_mean(match[2], re.findall(r"'([^']+)'", match[1]))
        return f"{where}'{match[2]}' is no choice. {known}"
    return message.strip()


def _options(parser: ArgumentParser) -> set[str]:
    return {
        option.removeprefix("--")
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--")
    }

    return set(inspect.signature(Link).parameters)


def _parameters(path: str) -> set[str]:
    name = path.rpartition(".")[2]
    classes = [cls for base in KINDS.values() for cls in known_classes(base)]
    classes += [getattr(models, entry) for entry in models.__all__]
    for cls in classes:
        if cls.__name__ == name:
            return set(inspect.signature(cls).parameters)
    return set()
