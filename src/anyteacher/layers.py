"""`anyteacher taps`: the layers of a model that can be tapped, and pairs of those of two models."""

import importlib
import inspect

import torch
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from torch import nn

from anyteacher.errors import ConfigError, did_you_mean
from anyteacher.methods.named import written_call
from anyteacher.report import Table, print_table
from anyteacher.survey import Candidate, suggest, survey
from anyteacher.teacher import Teacher
from anyteacher.teachers import RANDOM, Timm, Torchvision, Transformers

_CONSOLE = Console()


def taps(parser: ArgumentParser, settings: Namespace) -> int:
    """Lists the candidate layers of one model, or of two with suggested pairs."""
    if min(settings.channels, *settings.size) < 1:
        raise ConfigError(
            f"Images need at least one pixel and channel, got --size {settings.size[0]} "
            f"{settings.size[1]} and --channels {settings.channels}."
        )
    example = torch.rand(2, settings.channels, *settings.size)
    found: dict[str, list[Candidate]] = {}
    for name in filter(None, (settings.model, settings.student)):
        teacher = _named_model(name)
        with torch.no_grad():
            found[name] = survey(teacher.model, teacher.prepare(example))
        print_table(_candidates(name, found[name]), _CONSOLE)
    if settings.student:
        pairs = suggest(found[settings.student], found[settings.model])
        lines = [
            line
            for mine, theirs in pairs
            for line in (
                f"    - student: {_described(mine)}",
                f"      teacher: {_described(theirs)}",
            )
        ]
        header = (
            f"# student: {settings.student}, teacher: {settings.model}\ndistillation:\n  links:"
        )
        print("\n".join([header, *lines]) if lines else "No pair of layers goes together.")
    return 0


def _described(candidate: Candidate) -> str:
    shape = " x ".join(str(n) for n in candidate.shape)
    return f"{candidate.path:24s}  # {candidate.kind}, {shape}"


def _candidates(name: str, candidates: list[Candidate]) -> Table:
    return Table(
        ("tap", "layout", "shape", "stride", "parameters"),
        tuple(
            (
                c.path,
                c.kind,
                " x ".join(str(n) for n in c.shape),
                "" if c.stride is None else f"{c.stride:g}",
                f"{c.parameters:,}",
            )
            for c in candidates
        ),
        f"Layers of {name}",
    )


def _named_model(name: str) -> Teacher:
    kind, _, rest = name.partition(":")
    by_kind = {"timm": Timm, "torchvision": Torchvision, "transformers": Transformers}
    if rest and kind in by_kind:
        teacher: Teacher = by_kind[kind](rest, weights=RANDOM)
        return teacher
    if rest:
        raise ConfigError(f"No models are known from '{kind}'. {did_you_mean(kind, by_kind)}")
    return Teacher(_by_import_path(name))


def _by_import_path(name: str) -> nn.Module:
    """A model from `package.Class` or `package.Class(width=24)`; the values are literals."""
    try:
        path, arguments = written_call(name)
        module, _, attribute = path.rpartition(".")
        found = importlib.import_module(module)
    except (ImportError, SyntaxError, ValueError) as error:
        raise ConfigError(
            f"'{name}' is neither timm:NAME, torchvision:NAME, transformers:FOLDER nor the import "
            f"path of a model, such as package.Class or 'package.Class(width=24)' ({error})."
        ) from error
    if not hasattr(found, attribute):
        raise ConfigError(f"{module} has no '{attribute}'. {did_you_mean(attribute, dir(found))}")
    build = getattr(found, attribute)
    if not callable(build):
        raise ConfigError(f"'{name}' is a {type(build).__name__}, not a model.")
    known = inspect.signature(build).parameters
    try:
        inspect.signature(build).bind(**arguments)
    except TypeError as error:
        wrong = next((key for key in arguments if key not in known), "")
        hint = did_you_mean(wrong, known) if wrong else f"Takes: {', '.join(known)}."
        raise ConfigError(
            f"'{name}' cannot be built ({error}). {hint} Write '{module}.{attribute}(key=value)'."
        ) from error
    made = build(**arguments)
    if not isinstance(made, nn.Module):
        raise ConfigError(f"'{name}' gives a {type(made).__name__}, not a torch module.")
    return made
