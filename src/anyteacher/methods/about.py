"""What the methods say of themselves: of each, what its authors did, and what it sets."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from anyteacher import methods
from anyteacher.link import Link
from anyteacher.losses import DIRECTIONS, Direction

LEVELS = ["shallow", "deep"]  # taps of no model, to see what a method makes of them
_FIELD = re.compile(r"^(Source|Taps|Original|Weight): (.+(?:\n +.+)*)", re.MULTILINE)
_COMMON = ("student", "teacher", "direction", "weight", "of")

Method = Callable[..., list[Link]]


@dataclass(frozen=True)
class About:
    """One method.

    Attributes:
        name: The function's.
        family: The module it is in.
        summary: What it does, in a sentence.
        source: Authors, title, venue and year.
        taps: What its authors tapped.
        original: Their direction, then what has no counterpart here.
        weight: The default as the docstring states it, then where it is from.
        links: What it returns between two levels, by default.
        directions: Those that it takes.
        arguments: What it takes besides, by name.
    """

    name: str
    family: str
    summary: str
    source: str
    taps: str
    original: str
    weight: str
    links: list[Link]
    directions: tuple[Direction, ...]
    arguments: dict[str, inspect.Parameter]


def known() -> dict[str, Method]:
    """The methods by name: the public functions of `anyteacher.methods`."""
    return {name: getattr(methods, name) for name in sorted(methods.__all__)}


def arguments_of(method: Method) -> dict[str, inspect.Parameter]:
    """What a method takes beside what all of them take."""
    parameters = inspect.signature(method).parameters
    return {name: given for name, given in parameters.items() if name not in _COMMON}


def about(name: str) -> About:
    """What a method says in its docstring, and what it does between two levels of no model."""
    method = known()[name]
    text = inspect.getdoc(method) or ""
    fields = {key: " ".join(value.split()) for key, value in _FIELD.findall(text)}
    arguments = arguments_of(method)
    needed: dict[str, Any] = {
        key: 1 for key, given in arguments.items() if given.default is inspect.Parameter.empty
    }
    links = method(LEVELS, LEVELS, **needed)
    return About(
        name=name,
        family=method.__module__.rpartition(".")[2],
        summary=text.partition("\n")[0],
        source=fields["Source"],
        taps=fields["Taps"],
        original=fields["Original"],
        weight=fields["Weight"],
        links=links,
        directions=tuple(
            direction
            for direction in DIRECTIONS
            if all(direction in link.directions for link in links)
        ),
        arguments=arguments,
    )
