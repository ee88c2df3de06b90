"""What can be tapped, and who can teach: the commands `taps` and `teachers`."""

import torch
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from anyteacher.errors import ConfigError
from anyteacher.report import Table, print_table, say
from anyteacher.survey import Candidate, suggest, survey
from anyteacher.teachers.kinds import KINDS
from anyteacher.teachers.written import written_model

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
        teacher = written_model(name)
        prepared = teacher.prepare(example)
        with teacher.explaining(prepared), torch.no_grad():
            found[name] = survey(teacher.model, prepared)
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


def teachers(parser: ArgumentParser, settings: Namespace) -> int:
    """Lists where teachers come from, what of it is installed, and an example of each."""
    found = [(kind, kind.version()) for kind in KINDS]
    rows = tuple(
        (
            kind.title,
            kind.name,
            version or f"no: pip install 'anyteacher[{kind.extra}]'",
            kind.taps,
        )
        for kind, version in found
    )
    print_table(Table(("teachers", "class", "installed", "where taps usually are"), rows))
    for kind, version in found:
        if version or settings.all:
            say(f"\n# {kind.title}. The layers: anyteacher taps {kind.written}\n{kind.example}")
    return 0
