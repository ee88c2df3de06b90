"""What a method can be changed in, beyond what validation chooses: the projector and the norms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from anyteacher.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Variant:
    """A change of a method, as the settings of a run have it.

    Attributes:
        text: In words, behind "an inverted projection".
        distillation: In place of the method's own settings.
        optimization: In place of the usual settings.
    """

    text: str
    distillation: Mapping[str, Any] = field(default_factory=dict)
    optimization: Mapping[str, Any] = field(default_factory=dict)


def _projector(name: str, **arguments: Any) -> dict[str, Any]:
    return {"projector": {"class_path": name, "init_args": arguments}}


VARIANTS: dict[str, Variant] = {
    "closed form": Variant(
        "in closed form over some ten batches", _projector("ClosedForm", decay=0.9)
    ),
    "no decay": Variant("without weight decay", optimization={"projector_weight_decay": 0.0}),
    "raw": Variant("to the student's features as they are", {"student_norm": "none"}),
}
"""By name."""


def variant(name: str) -> Variant:
    """A variant by name; the empty name is the method as it is.

    Raises:
        ConfigError: when there is none of this name.
    """
    if not name:
        return Variant("")
    if name not in VARIANTS:
        raise ConfigError(f"There is no variant '{name}'. {did_you_mean(name, VARIANTS)}")
    return VARIANTS[name]
