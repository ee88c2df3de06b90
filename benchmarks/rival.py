"""A loss of torchdistill on the features of a link, with its projector where ours is there.

Its losses read features out of dictionaries, by module and by input or output. Its projector is a
1x1 convolution with the weights of our linear projector. Its losses have no inverted direction, so
that ours is compared in the direction that theirs has.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from anyteacher.level import Source
from anyteacher.losses import Direction
from benchmarks.links import LinkAlone

PAIRS = {"only": {side: {"io": "output", "path": "x"} for side in ("student", "teacher")}}


@dataclass
class Rival:
    """What torchdistill computes, and how it relates to ours.

    Attributes:
        direction: The direction of ours that does the same.
        theirs: Its forward.
        wanted: What its backward gives gradients of.
        ours: Our forward, where it is not just the link's.
        ours_wanted: Likewise.
        as_ours: Our value from theirs; None where the forms differ.
        note: What a reader must know of the comparison.
    """

    direction: Direction
    theirs: Callable[[], Tensor]
    wanted: list[Tensor]
    ours: Callable[[], Tensor] | None = None
    ours_wanted: list[Tensor] | None = None
    as_ours: Callable[[Tensor], Tensor] | None = lambda value: value
    note: str = ""


def mid_level() -> Any:
    """The module with the losses of torchdistill."""
    return importlib.import_module("torchdistill.losses.mid_level")


def formed(source: Source) -> Tensor:
    """A feature as torchdistill expects it: a map or a vector."""
    x = source.feature
    if x.ndim != 3:
        return x
    side = source.image_size[0] // 16
    return x[:, 1:].transpose(1, 2).reshape(len(x), -1, side, side)


def called(loss: nn.Module, student: Any, teacher: Any) -> Tensor:
    """A loss of its between two features."""
    value: Tensor = loss({"x": {"output": student}}, {"x": {"output": teacher}}, None)
    return value


def plain(alone: LinkAlone, loss: nn.Module, **settings: Any) -> Rival:
    """A loss without a projector."""
    student, teacher = alone.student[0], alone.teacher[0]
    return Rival(
        "none",
        lambda: called(loss, formed(student), formed(teacher)),
        [student.feature],
        **settings,
    )


def convolution(alone: LinkAlone, level: int = 0) -> nn.Conv2d:
    """Its projector, with our weights."""
    projector: Any = alone.connections["traditional"].projector
    weight = (projector.levels[level] if hasattr(projector, "levels") else projector).linear.weight
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False).to(weight.device)
    layer.load_state_dict({"weight": weight.detach()[:, :, None, None]})
    return layer


def projected(
    alone: LinkAlone,
    loss: nn.Module,
    given: Callable[[Tensor], Any] = lambda x: x,
    more: list[Tensor] | None = None,
    **settings: Any,
) -> Rival:
    """A loss after a projection of the student's map."""
    student, teacher = alone.student[0], alone.teacher[0]
    layer = convolution(alone)
    return Rival(
        "traditional",
        lambda: called(loss, given(layer(formed(student))), formed(teacher)),
        [student.feature, layer.weight, *(more or [])],
        **settings,
    )
