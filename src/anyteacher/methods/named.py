"""A method by its name, as the command takes it: `fitnet`, or `crd(samples=1000)`."""

import ast
import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from anyteacher.errors import ConfigError, did_you_mean
from anyteacher.link import Link, Taps
from anyteacher.losses import Direction, LevelLoss
from anyteacher.methods.about import LEVELS, Method, arguments_of, known
from anyteacher.projectors import LevelProjector
from anyteacher.taps import Tap


def written_call(text: str) -> tuple[str, dict[str, Any]]:
    """The name and arguments of `name` or `package.name(key=value)`; the values are literals.

    >>> written_call("crd(samples=1000)")
    ('crd', {'samples': 1000})

    Raises:
        SyntaxError: when it is no expression of Python.
        ValueError: when an argument has no name, or a value is no literal.
    """
    tree = ast.parse(text, mode="eval").body
    call = tree if isinstance(tree, ast.Call) else None
    keywords = call.keywords if call else []
    if call and (call.args or any(keyword.arg is None for keyword in keywords)):
        raise ValueError("arguments go by name")
    arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in keywords}
    return ast.unparse(call.func if call else tree), arguments


def method_named(text: str) -> Method:
    """The method that a text names, with the arguments in it.

    Raises:
        ConfigError: when there is none of this name, or it does not take these arguments.
    """
    try:
        name, arguments = written_call(text)
    except (SyntaxError, ValueError) as error:
        raise ConfigError(
            f"'{text}' names no method ({error}). Write a name such as fitnet, with what it takes "
            "besides in brackets: 'crd(samples=1000)'."
        ) from error
    methods = known()
    if name not in methods:
        near = did_you_mean(name.lower(), methods)
        everything = f" All: {', '.join(methods)}." if near.startswith("Did") else ""
        raise ConfigError(f"There is no method '{name}'. {near}{everything}")
    takes = arguments_of(methods[name])
    if wrong := [key for key in arguments if key not in takes]:
        raise ConfigError(
            f"{name} takes no '{wrong[0]}' here. {did_you_mean(wrong[0], takes)} The direction and "
            "a factor of the weight are given apart: --distillation.direction, "
            "--distillation.weight."
        )
    lacking = [
        key
        for key, parameter in takes.items()
        if parameter.default is inspect.Parameter.empty and key not in arguments
    ]
    if lacking:
        raise ConfigError(
            f"{name} needs {' and '.join(lacking)}: write '{name}({lacking[0]}=…)', in quotes."
        )
    for key, value in arguments.items():
        wanted = takes[key].annotation
        if isinstance(wanted, type) and type(value) is not wanted:
            raise ConfigError(
                f"{name}'s {key} is a value of type {wanted.__name__}, got {value!r}: write "
                f"'{name}({key}=…)' with such a value."
            )
    return partial(methods[name], **arguments)


def links_by(text: str, given: Sequence[Link], direction: Direction | None = None) -> list[Link]:
    """The links of a method between the taps of other links, of which nothing else remains.

    The taps, layouts and teachers are kept, and a link's name in place of its taps. All links of a
    teacher become levels of one where the method relates levels or weighs them; the others are
    applied to each link. The same taps twice count once. Links without a teacher stay as they are.

    Args:
        text: The method, as `method_named` takes it.
        given: The links with the taps.
        direction: In place of the method's default.

    Raises:
        ConfigError: for an unknown method, no links, or a direction that the method lacks.
    """
    method = method_named(text)
    alone = [link for link in given if not link.teacher_taps]
    given = [link for link in given if link.teacher_taps]
    if not given:
        raise ConfigError(
            f"The method {text} needs taps to compare: give them as distillation.links, each with "
            "a `student` and a `teacher`. `anyteacher taps TEACHER --student STUDENT` lists pairs "
            "to choose from."
        )
    if direction is not None:
        method = partial(method, direction=direction)
    ends = _ends(given)
    if _over_levels(method):
        ends = _joined(text, ends)
    return [_kept(link, end) for end in ends for link in _called(method, end)] + alone


def _called(method: Method, end: Link) -> list[Link]:
    return method(end.student, cast("Taps", end.teacher), of=end.of)


def _kept(link: Link, end: Link) -> Link:
    name = link.name.replace(end.taps_by_name, end.name) if end.name else link.name
    return link.filled(
        name=name, student_layout=end.student_layout, teacher_layout=end.teacher_layout
    )


def _ends(given: Sequence[Link]) -> list[Link]:
    """The links with different taps."""
    found: dict[tuple[tuple[Tap, ...], tuple[Tap, ...], str], Link] = {}
    for link in given:
        found.setdefault((link.student_taps, link.teacher_taps, link.of), link)
    return list(found.values())


def _over_levels(method: Method) -> bool:
    """Whether it makes a difference to a method that levels are in one link."""
    return any(
        bool(link.level_weights)
        or isinstance(link.loss, LevelLoss)
        or isinstance(link.projector, LevelProjector)
        for link in method(LEVELS, LEVELS)
    )


def _joined(text: str, ends: Sequence[Link]) -> list[Link]:
    """One link for each teacher, over the levels of all links to it."""
    joined = []
    for of in dict.fromkeys(end.of for end in ends):
        mine = [end for end in ends if end.of == of]
        if any(
            (end.student_layout, end.teacher_layout)
            != (mine[0].student_layout, mine[0].teacher_layout)
            for end in mine
        ):
            raise ConfigError(
                f"The method {text} makes one link of those to a teacher, and they state different "
                "layouts. State the same ones, or none."
            )
        named = any(end.name for end in mine)
        pairs = dict.fromkeys(
            pair for end in mine for pair in zip(end.student_taps, end.teacher_taps, strict=True)
        )
        joined.append(
            mine[0].filled(
                student=[pair[0] for pair in pairs],
                teacher=[pair[1] for pair in pairs],
                name="+".join(end.name or end.taps_by_name for end in mine) if named else "",
            )
        )
    return joined
