"""What is distilled: links, and settings that all of them have in common."""

from dataclasses import dataclass, field

from anyteacher.errors import ConfigError
from anyteacher.layout import Compare
from anyteacher.link import Link
from anyteacher.losses import Direction
from anyteacher.methods.named import links_by, method_named
from anyteacher.normalization import Norm
from anyteacher.projectors import LevelProjector, Projector


@dataclass(frozen=True)
class Distillation:
    """What is distilled.

    Args:
        links: What is compared or regularised; [] trains the student alone.
        method: A method by name, such as `fitnet` or `crd(samples=1000)`. It decides how the taps
            of the links are compared, in place of all that the links say of it; empty for the
            links as they are.
        direction: For all links to a teacher in place of their own: `inverted`, `traditional` or
            `none`.
        projector: For all links to a teacher in place of their own, such as `ClosedForm`; each has
            a copy of it.
        weight: Multiplies the weight of every link; 0 or more.
        compare: For all links to a teacher in place of their own: `positions` or `pooled`.
        student_norm: Likewise, the normalisation of the student's feature.
        teacher_norm: Likewise, that of the teacher's.
        observe_every: Training steps between two looks at the features, for the logs: the terms of
            the loss, the projector's singular values, the ranks and what is left of the student's
            energy (see `docs/spectral.md`); 0 for none.
        margin: Pixels on each side of the training images that the teachers alone see; the student
            learns from the middle. It is tested on whole images.
    """

    links: list[Link] = field(default_factory=list)
    method: str = ""
    direction: Direction | None = None
    projector: Projector | LevelProjector | None = None
    weight: float = 1.0
    compare: Compare | None = None
    student_norm: Norm | None = None
    teacher_norm: Norm | None = None
    observe_every: int = 100
    margin: int = 0

    def __post_init__(self) -> None:
        if self.method:
            method_named(self.method)
        if self.observe_every < 0:
            raise ConfigError(
                f"observe_every counts training steps, 0 for never, got {self.observe_every}."
            )
        if self.margin < 0:
            raise ConfigError(f"A margin is a number of pixels, 0 or more, got {self.margin}.")
        if self.weight < 0:
            raise ConfigError(f"The weight of distillation must be 0 or more, got {self.weight}.")

    def resolved(self) -> tuple[Link, ...]:
        """The links with the common settings in them."""
        links = self.links
        if self.method:
            links = links_by(self.method, links, self.direction)
        common = {
            "direction": self.direction,
            "projector": self.projector,
            "compare": self.compare,
            "student_norm": self.student_norm,
            "teacher_norm": self.teacher_norm,
        }
        given = {name: value for name, value in common.items() if value is not None}
        return tuple(
            # A link without a teacher projects and compares nothing.
            link.filled(weight=self.weight * link.weight, **(given if link.teacher_taps else {}))
            for link in links
        )
