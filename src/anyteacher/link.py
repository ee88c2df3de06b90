"""Links: which feature of the student is compared with which of the teacher, and how.

Or, without a teacher, which feature of the student is regularised.
"""

import math
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, TypeAlias, cast, get_args

import torch
from torch import Tensor, nn

from anyteacher.errors import AnyteacherError, ConfigError, did_you_mean
from anyteacher.layout import Compare, Grid, Layout, Resize
from anyteacher.losses import DIRECTIONS, MSE, Direction, LevelLoss, Loss
from anyteacher.normalization import Norm
from anyteacher.objective import Objective
from anyteacher.projectors import LevelProjector, Linear, Projector
from anyteacher.regularizers import Regularizer
from anyteacher.taps import Tap

Taps: TypeAlias = str | Tap | list[str | Tap]


@dataclass(frozen=True)
class Link:
    """Ties one feature of the student to one of a teacher. A description; it holds no parameters.

    The features are brought to one form, normalised, then one side is projected to the other's
    width, then they are compared. A link whose loss is a regulariser has no teacher: it takes the
    student's feature alone, and nothing that is said of a teacher or a projector.

    Args:
        student: Tap of the student: a module path, `path[key]`, `input:path`, or a `Tap`. A list
            of taps, the shallowest first, for a link over several levels.
        teacher: Tap of the teacher, or as many as of the student, likewise. None for a regulariser.
        loss: Any loss, or any regulariser. Over several levels each has a copy of its own, unless
            it is a loss of all levels at once.
        projector: Any projector; its sizes are found.
        direction: `inverted` projects the teacher's feature into the student's space, so that
            what belongs to the teacher's task alone can be dropped; `traditional` projects the
            student's into the teacher's; `none` projects neither.
        weight: Factor of the loss in the total; 0 or more.
        level_weights: Factor of each level's loss; empty for 1 each. The link's loss is their sum.
        warmup: Number of training steps over which the weight grows linearly to its full value; a
            step is a forward pass in training mode, so accumulated batches count each.
        compare: `positions` compares the features place by place, `pooled` their means over all
            places, one row an image.
        grid: The side whose grid is kept where the two differ.
        resize: How the other side is brought to it: `pool`, `bilinear`, or `auto` for pooling
            where it shrinks.
        student_norm: Normalisation of the student's feature before the projection.
        teacher_norm: Normalisation of the teacher's feature before the projection.
        student_layout: The student's layout, where the one found is wrong.
        teacher_layout: The teacher's layout, likewise.
        of: Name of the teacher, where there are several.
        name: Name in the logs; made from the taps when empty.
    """

    student: Taps
    teacher: Taps | None = None
    loss: Objective = field(default_factory=MSE)
    projector: Projector | LevelProjector = field(default_factory=Linear)
    direction: Direction = "inverted"
    weight: float = 1.0
    level_weights: list[float] = field(default_factory=list)
    warmup: int = 0
    compare: Compare = "positions"
    grid: Grid = "student"
    resize: Resize = "auto"
    student_norm: Norm = "none"
    teacher_norm: Norm = "none"
    student_layout: Layout | None = None
    teacher_layout: Layout | None = None
    of: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        for setting, known in _CHOICES.items():
            value = getattr(self, setting)
            if value not in known:
                raise ConfigError(
                    f"A link's {setting} cannot be '{value}'. {did_you_mean(str(value), known)}"
                )
        for setting, bases in _BASES.items():
            value = getattr(self, setting)
            if not isinstance(value, bases):
                raise ConfigError(
                    f"A link's {setting} is an object such as {_EXAMPLES[setting]}, got {value!r}."
                )
        if not 0 <= self.weight < math.inf or self.warmup < 0:
            raise ConfigError(
                f"A link's weight and warmup must be 0 or more, got {self.weight} and "
                f"{self.warmup}."
            )
        if isinstance(self.loss, Regularizer):
            self._check_alone(self.loss)
        self._check_levels()

    def _check_alone(self, regularizer: Regularizer) -> None:
        given = [name for name in _OF_TEACHER if self._has(name)]
        if given:
            raise ConfigError(
                f"{type(regularizer).__name__} is a loss of the student alone, and a link with it "
                f"takes no {' or '.join(given)}. For a link to a teacher use a loss such as "
                "losses.MSE()."
            )

    def _has(self, name: str) -> bool:
        """Whether a setting is not the default."""
        value, option = getattr(self, name), type(self).__dataclass_fields__[name]
        usual = option.default
        if usual is MISSING:
            usual = cast("Any", option).default_factory()
        return bool(_described(value) != _described(usual))

    def _check_levels(self) -> None:
        mine, theirs = len(self.student_taps), len(self.teacher_taps)
        if self.teacher is None and not isinstance(self.loss, Regularizer):
            raise ConfigError(
                f"{type(self.loss).__name__} compares the student with a teacher, and the link has "
                "no `teacher` tap. Give one, or a loss of the student alone such as "
                "regularizers.TrailingEnergy(0.25)."
            )
        if (mine != theirs and self.teacher is not None) or mine == 0:
            raise ConfigError(
                f"A link ties as many taps of the student as of the teacher, got {mine} and "
                f"{theirs}: {self._sides()}."
            )
        weights = self.level_weights
        if isinstance(self.loss, LevelLoss) and mine < self.loss.fewest:
            raise ConfigError(
                f"{type(self.loss).__name__} relates the levels of a side with each other and "
                f"needs {self.loss.fewest} or more, got {self._sides()}. "
                "Give both sides a list of taps, the shallowest first."
            )
        if not weights:
            return
        if isinstance(self.loss, LevelLoss):
            raise ConfigError(
                f"{type(self.loss).__name__} is a loss of all levels at once; it takes no "
                "level_weights."
            )
        if len(weights) != mine or not all(0 <= weight < math.inf for weight in weights):
            raise ConfigError(
                f"level_weights are one number of 0 or more for each of the link's {mine} "
                f"levels, got {weights}."
            )

    def check_direction(self) -> None:
        """Refuses a direction in which the loss or the projector has no meaning.

        A new link is not asked: its direction may yet be set together with that of others.

        Raises:
            ConfigError: naming the one, the directions it has, and why.
        """
        for part in (self.loss, self.projector):
            possible = _possible(part)
            if self.direction not in possible:
                allowed = " or ".join(f"'{direction}'" for direction in possible)
                raise ConfigError(
                    f"{type(part).__name__} cannot be used with direction='{self.direction}', only "
                    f"with {allowed}: {cast('Loss | Projector', part).because}."
                )

    @property
    def directions(self) -> tuple[Direction, ...]:
        """In which directions of projection the link has a meaning; all for a regulariser."""
        return tuple(way for way in _possible(self.loss) if way in _possible(self.projector))

    def _sides(self) -> str:
        sides = (self.student_taps, self.teacher_taps)
        return " and ".join(f"[{', '.join(map(str, taps))}]" for taps in sides)

    @cached_property
    def student_taps(self) -> tuple[Tap, ...]:
        """The student's taps, parsed, one a level."""
        return _parsed(self.student)

    @cached_property
    def teacher_taps(self) -> tuple[Tap, ...]:
        """The teacher's taps, parsed, one a level; none for a regulariser."""
        return () if self.teacher is None else _parsed(self.teacher)

    @property
    def taps_by_name(self) -> str:
        """The taps of both sides as a name; those of the student and the loss without a teacher."""
        if self.teacher is None:
            return f"{'+'.join(map(str, self.student_taps))}:{type(self.loss).__name__}"
        sides = (self.student_taps, self.teacher_taps)
        return "<-".join("+".join(map(str, taps)) for taps in sides)

    def filled(self, **changes: Any) -> "Link":
        """A copy with some settings changed."""
        return replace(self, **changes)

    def described(self) -> dict[str, Any]:
        """Its settings as plain values, but for those that are as usual.

        A part is described by its class and what it was made with.

        >>> Link("a", "b", weight=0.5, compare="pooled").described()
        {'student': 'a', 'teacher': 'b', 'weight': 0.5, 'compare': 'pooled'}
        """
        names = [option.name for option in fields(self)]
        given = [name for name in names if name == "student" or self._has(name)]
        return {name: _described(getattr(self, name)) for name in given}

    def summed(self, values: list[Tensor]) -> Tensor:
        """The link's loss from those of its levels."""
        if self.level_weights:
            values = [w * value for w, value in zip(self.level_weights, values, strict=True)]
        return values[0] if len(values) == 1 else torch.stack(values).sum()

    def blamed(self, error: AnyteacherError) -> AnyteacherError:
        """The error with the link's name in front."""
        return type(error)(f"Link '{self.name}': {error}")

    def weight_at(self, step: Tensor) -> float | Tensor:
        """The weight after so many training steps; a tensor only while there is a warm-up."""
        if self.warmup == 0:
            return self.weight
        return self.weight * ((step + 1) / self.warmup).clamp(max=1.0)


_CHOICES: dict[str, tuple[str, ...]] = {
    "direction": get_args(Direction),
    "compare": get_args(Compare),
    "grid": get_args(Grid),
    "resize": get_args(Resize),
    "student_norm": get_args(Norm),
    "teacher_norm": get_args(Norm),
}


_BASES: dict[str, tuple[type, ...]] = {
    "loss": (Objective,),
    "projector": (Projector, LevelProjector),
}
# What says nothing of the student's own feature.
_OF_TEACHER = (
    "teacher",
    "projector",
    "direction",
    "grid",
    "resize",
    "teacher_norm",
    "teacher_layout",
    "of",
)
_EXAMPLES = {"loss": "losses.MSE()", "projector": "projectors.Linear()"}


def _settings(part: nn.Module) -> dict[str, Any]:
    """The hyperparameters of a module that was not built."""
    return {
        name: value
        for name, value in vars(part).items()
        if name != "training" and not name.startswith("_")
    }


def _described(value: Any) -> Any:
    if isinstance(value, nn.Module):
        return [type(value).__name__, _settings(value)]
    if isinstance(value, list):
        return [_described(inner) for inner in value]
    return str(value) if isinstance(value, Tap) else value


def _possible(part: Objective | Projector | LevelProjector) -> tuple[Direction, ...]:
    """The directions in which a loss or a projector has a meaning."""
    if isinstance(part, Projector):
        return *part.directions, "none"  # where it is not used
    return part.directions if isinstance(part, Loss) else DIRECTIONS


def _parsed(taps: Taps) -> tuple[Tap, ...]:
    return tuple(Tap.parse(tap) for tap in (taps if isinstance(taps, list | tuple) else [taps]))
