"""Links: which feature of the student is compared with which of the teacher, and how."""

import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import AnyteacherError, ConfigError, LayoutError, did_you_mean
from anyteacher.layout import (
    Compare,
    Grid,
    Layout,
    Resize,
    Size,
    channels,
    check,
    detect,
    fills_grid,
    match_grids,
    to_map,
    to_vector,
)
from anyteacher.losses import MSE, FeatureLoss
from anyteacher.normalization import Norm, normalize
from anyteacher.projectors import Identity, Linear, Projector
from anyteacher.taps import Tap

Direction = Literal["inverted", "traditional", "none"]


@dataclass(frozen=True)
class Link:
    """Ties one feature of the student to one of a teacher. A description; it holds no parameters.

    The features are brought to one form, normalised, then one side is projected to the other's
    width, then they are compared.

    Args:
        student: Tap of the student: a module path, `path[key]`, `input:path`, or a `Tap`.
        teacher: Tap of the teacher, likewise.
        loss: Any feature loss.
        projector: Any projector; its sizes are found.
        direction: `inverted` projects the teacher's feature into the student's space, so that
            what belongs to the teacher's task alone can be dropped; `traditional` projects the
            student's into the teacher's; `none` projects neither.
        weight: Factor of the loss in the total; 0 or more.
        warmup: Number of training steps over which the weight grows linearly to its full value.
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

    student: str | Tap
    teacher: str | Tap
    loss: FeatureLoss = field(default_factory=MSE)
    projector: Projector = field(default_factory=Linear)
    direction: Direction = "inverted"
    weight: float = 1.0
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
        for setting, base in (("loss", FeatureLoss), ("projector", Projector)):
            value = getattr(self, setting)
            if not isinstance(value, base):
                raise ConfigError(
                    f"A link's {setting} is an object such as {_EXAMPLES[setting]}, got {value!r}."
                )
        if not (self.weight >= 0 and self.weight < float("inf")) or self.warmup < 0:
            raise ConfigError(
                f"A link's weight and warmup must be 0 or more, got {self.weight} and "
                f"{self.warmup}."
            )

    @cached_property
    def student_tap(self) -> Tap:
        """The student's tap, parsed."""
        return Tap.parse(self.student)

    @cached_property
    def teacher_tap(self) -> Tap:
        """The teacher's tap, parsed."""
        return Tap.parse(self.teacher)

    def filled(self, **changes: Any) -> "Link":
        """A copy with some settings changed."""
        return replace(self, **changes)

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


_EXAMPLES = {"loss": "losses.MSE()", "projector": "projectors.Linear()"}


class Source(NamedTuple):
    """A feature (any layout) and the height and width of the images it came from."""

    feature: Tensor
    image_size: Size


class Connection(nn.Module):
    """A link made real: projector and loss with their parameters, for features of known sizes.

    Args:
        link: The description; its projector and loss are copied.
        student: The student's feature of the probe.
        teacher: The teacher's feature of the probe.

    Raises:
        LayoutError: when the features cannot be compared as the link says.
    """

    def __init__(self, link: Link, student: Source, teacher: Source) -> None:
        super().__init__()
        self.link = link
        self.loss = copy.deepcopy(link.loss)
        self.projector = Identity() if link.direction == "none" else copy.deepcopy(link.projector)
        try:
            self.student_layout = link.student_layout or _found(student)
            self.teacher_layout = link.teacher_layout or _found(teacher)
            check(student.feature, self.student_layout, "the student's feature")
            check(teacher.feature, self.teacher_layout, "the teacher's feature")
            self._check_positions(student, teacher)
            widths = (
                channels(student.feature.shape, self.student_layout),
                channels(teacher.feature.shape, self.teacher_layout),
            )
            self.projector.build(*(widths if link.direction == "traditional" else widths[::-1]))
        except AnyteacherError as error:
            raise self._named(error) from error
        self.projector.to(student.feature.dtype)

    def _check_positions(self, student: Source, teacher: Source) -> None:
        if self.link.compare == "pooled":
            return
        kinds = (self.student_layout.kind, self.teacher_layout.kind)
        if kinds.count("vector") == 1:
            raise LayoutError(
                f"a {kinds[0]} of shape {tuple(student.feature.shape)} (student) and a {kinds[1]} "
                f"of shape {tuple(teacher.feature.shape)} (teacher) have no positions in common. "
                'Use compare="pooled", or tap an earlier module where the vector is.'
            )
        sides = [(student, self.student_layout), (teacher, self.teacher_layout)]
        if all(fills_grid(source.feature.shape, layout, source[1]) for source, layout in sides):
            return
        # Tokens that fill no grid can still be compared one by one, as a column.
        counts = [source.feature.shape[1] - layout.prefix for source, layout in sides]
        if kinds != ("tokens", "tokens") or counts[0] != counts[1]:
            raise LayoutError(
                f"features of shape {tuple(student.feature.shape)} (student) and "
                f"{tuple(teacher.feature.shape)} (teacher): no grid was found that fills the "
                'tokens. Use compare="pooled", or state the layout: '
                "Layout('tokens', prefix=…, grid=(rows, columns))."
            )
        column = (counts[0], 1)
        self.student_layout = replace(self.student_layout, grid=column)
        self.teacher_layout = replace(self.teacher_layout, grid=column)

    def forward(self, student: Source, teacher: Source) -> Float[Tensor, ""]:
        """The loss between the two features, 0-dim, without the link's weight.

        Raises:
            LayoutError: naming the link, when the features do not fit together.
        """
        try:
            return self._compare(student, teacher)
        except AnyteacherError as error:
            raise self._named(error) from error

    def _compare(self, student: Source, teacher: Source) -> Tensor:
        link = self.link
        rows = student.feature.shape[0]
        if rows != teacher.feature.shape[0]:
            raise LayoutError(
                f"the student's feature has a batch of {rows} and the teacher's of "
                f"{teacher.feature.shape[0]}. Both must come from the same images; a model that "
                "folds windows into the batch is to be tapped after it unfolds them."
            )
        if rows == 0:
            raise LayoutError("the batch is empty: there is no row to project or compare.")
        ours = normalize(self._formed(student, self.student_layout), link.student_norm)
        theirs = normalize(self._formed(teacher, self.teacher_layout), link.teacher_norm)
        if not torch.is_autocast_enabled(ours.device.type):
            dtype = self._precision(student.feature)
            ours, theirs = ours.to(dtype), theirs.to(dtype)
        if link.compare == "positions" and ours.ndim == 4:
            ours, theirs = match_grids(ours, theirs, to=link.grid, resize=link.resize)
        if link.direction == "traditional":
            ours = self.projector(ours)
        else:
            theirs = self.projector(theirs)
        loss: Tensor = self.loss(ours, theirs)
        return loss

    def _formed(self, source: Source, layout: Layout) -> Tensor:
        """The feature as the map or vector that is compared."""
        check(source.feature, layout, "a feature")
        if self.link.compare == "pooled" or layout.kind == "vector":
            return to_vector(source.feature, layout)
        return to_map(source.feature, layout, source.image_size)

    def _precision(self, student: Tensor) -> torch.dtype:
        """What both sides are compared in: the projector's, else the student's precision."""
        weight = next(self.projector.parameters(), student)
        return weight.dtype

    def _named(self, error: AnyteacherError) -> AnyteacherError:
        return type(error)(f"Link '{self.link.name}': {error}")


def _found(source: Source) -> Layout:
    """The layout found, its grid left open: later images may have another size or proportion."""
    return replace(detect(source.feature.shape, source.image_size), grid=None)
