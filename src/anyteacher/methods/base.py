"""What the methods have in common: links that are named after their method."""

from typing import Any

from anyteacher.link import Link, Taps
from anyteacher.losses import Direction, Loss


def linked(
    method: str,
    student: Taps,
    teacher: Taps,
    loss: Loss,
    direction: Direction,
    *,
    weight: float,
    of: str,
    **settings: Any,
) -> list[Link]:
    """One link, whose name tells it from those of other methods between the same taps.

    Args:
        method: What the name begins with.
        student: Taps of the student.
        teacher: Taps of the teacher.
        loss: What the features are compared with.
        direction: Of the projection.
        weight: Of the link.
        of: The teacher's name, empty for the only one.
        **settings: Further settings of the link.

    Raises:
        ConfigError: when the loss has no meaning in this direction.
    """
    link = Link(student, teacher, loss, direction=direction, weight=weight, of=of, **settings)
    link.check_direction()
    return [link.filled(name=" ".join(filter(None, (method, of, link.taps_by_name))))]


def halving(taps: Taps) -> list[float]:
    """Weights of the levels: 1 for the deepest, and half the next deeper for each other.

    >>> halving(["layer1", "layer2", "layer3"])
    [0.25, 0.5, 1.0]
    """
    count = len(taps) if isinstance(taps, list | tuple) else 1
    return [0.5**place for place in reversed(range(count))]
