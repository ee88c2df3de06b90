"""Connections: links made real, with the parameters of their projectors and losses."""

import copy
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import AnyteacherError, ConfigError, LayoutError
from anyteacher.layout import match_grids
from anyteacher.level import Compared, Level, Source
from anyteacher.link import Link
from anyteacher.losses import LevelLoss, Loss
from anyteacher.normalization import normalize
from anyteacher.projectors import Identity, LevelProjector, Projector
from anyteacher.window import cut


class Connection(nn.Module):
    """A link made real: projector and loss with their parameters, for features of known sizes.

    Args:
        link: The description; its projector and loss are copied.
        student: The student's feature of the probe, or one a level.
        teacher: The teacher's feature of the probe, or one a level.

    Raises:
        LayoutError: when the features cannot be compared as the link says.
        ConfigError: when the loss has no meaning in the link's direction.

    Attributes:
        widths: Channels of the student's feature and of the teacher's, one pair a level.
    """

    projector: Projector | LevelProjector
    losses: nn.ModuleList

    def __init__(
        self,
        link: Link,
        student: Source | Sequence[Source],
        teacher: Source | Sequence[Source],
    ) -> None:
        super().__init__()
        self.link = link
        mine, theirs = _listed(student), _listed(teacher)
        try:
            link.check_direction()
            self.levels = [
                Level.found(link, ours, other) for ours, other in zip(mine, theirs, strict=True)
            ]
            self._check_form()
            self.widths = [
                level.widths(ours, other)
                for level, ours, other in zip(self.levels, mine, theirs, strict=True)
            ]
            self.projector = self._built(self.widths)
            self.losses = self._made(self.widths, [source.module for source in theirs])
        except AnyteacherError as error:
            raise link.blamed(error) from error
        self.to(mine[0].feature.dtype)

    @property
    def _loss(self) -> Loss:
        return cast("Loss", self.link.loss)  # links with a regulariser have no connection

    def _check_form(self) -> None:
        link, loss, name = self.link, self._loss, type(self._loss).__name__
        # Of either side: positions go with positions, and vectors with vectors.
        vectors = [link.compare == "pooled" or lv.student.kind == "vector" for lv in self.levels]
        if loss.form == "images" and not all(vectors):
            raise ConfigError(
                f"{name} compares one vector an image: {loss.because}. Use compare='pooled'."
            )
        if loss.form == "positions" and any(vectors):
            raise LayoutError(
                f"{name} needs maps or tokens and compare='positions': {loss.because}. Here "
                "it would see one vector an image."
            )

    def _check_widths(self, mine: int, theirs: int) -> None:
        if mine == theirs:
            return
        loss = self._loss
        ways = [f"'{way}'" for way in loss.directions if way != "none"]
        advice = f"Use direction={' or '.join(ways)} to project, or a loss for unequal widths"
        if loss.directions == ("none",):
            advice = loss.because[:1].upper() + loss.because[1:]
        raise LayoutError(
            f"Without a projector {type(loss).__name__} needs the same width on both sides, got "
            f"{mine} channels from the student and {theirs} from the teacher. {advice}."
        )

    def _built(self, widths: list[tuple[int, int]]) -> Projector | LevelProjector:
        link = self.link
        if link.direction == "none":
            identity = Identity()
            for mine, theirs in widths if self._loss.equal_widths else []:
                self._check_widths(mine, theirs)
                identity.build(mine, theirs)
            return identity
        projector = copy.deepcopy(link.projector)
        befores, afters = zip(*widths, strict=True)
        if link.direction == "inverted":
            befores, afters = afters, befores
        if isinstance(projector, Projector) and len(widths) == 1:
            projector.build(befores[0], afters[0])
            return projector
        if isinstance(projector, Projector):
            projector = _EachLevel(projector)
        projector.build(befores, afters)
        return projector

    def _made(
        self, widths: list[tuple[int, int]], modules: Sequence[nn.Module | None]
    ) -> nn.ModuleList:
        """The loss, or a copy of it for each level."""
        link = self.link
        if isinstance(link.loss, LevelLoss):
            return nn.ModuleList([copy.deepcopy(link.loss)])
        losses = [copy.deepcopy(self._loss) for _ in widths]
        if link.teacher_norm != "none" or link.compare == "pooled":
            modules = [None] * len(widths)  # what is compared is no longer what the module gives
        for loss, (mine, theirs), module in zip(losses, widths, modules, strict=True):
            if link.direction == "inverted":
                loss.build(mine, mine)
            else:
                loss.build(theirs if link.direction == "traditional" else mine, theirs, module)
        return nn.ModuleList(losses)

    def forward(
        self,
        student: Source | Sequence[Source],
        teacher: Source | Sequence[Source],
        given: Mapping[str, Tensor | None] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss between the two features, 0-dim, without the link's weight.

        Args:
            student: The student's feature, or one a level.
            teacher: The teacher's feature, or one a level.
            given: What else is known of the images: their `targets` and `indices`.

        Raises:
            LayoutError: naming the link, when the features do not fit together.
            ConfigError: naming the link, when the loss needs what is not given.
        """
        try:
            return self._compare(_listed(student), _listed(teacher), given or {})
        except AnyteacherError as error:
            raise self.link.blamed(error) from error

    @property
    def projectors(self) -> list[Projector | None]:
        """The projector of each level; None where nothing is projected, or all levels at once."""
        projector = self.projector
        if isinstance(projector, _EachLevel):
            return [cast("Projector", level) for level in projector.levels]
        projects = self.link.direction != "none" and isinstance(projector, Projector)
        return [cast("Projector", projector) if projects else None] * len(self.widths)

    @torch.no_grad()
    def compared(
        self, student: Source | Sequence[Source], teacher: Source | Sequence[Source]
    ) -> list[Compared]:
        """The features of each level as they are compared, without a history.

        Raises:
            LayoutError: naming the link, when the features do not fit together.
        """
        try:
            ours, others = self._pairs(_listed(student), _listed(teacher))
            return [Compared(*level) for level in zip(ours, others, strict=True)]
        except AnyteacherError as error:
            raise self.link.blamed(error) from error

    def _pairs(
        self, student: Sequence[Source], teacher: Sequence[Source]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Both sides' features, those of each level matched with each other."""
        pairs = [
            self._matched(level, mine, theirs)
            for level, mine, theirs in zip(self.levels, student, teacher, strict=True)
        ]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    def _compare(
        self,
        student: Sequence[Source],
        teacher: Sequence[Source],
        given: Mapping[str, Tensor | None],
    ) -> Tensor:
        ours, others = self._pairs(student, teacher)
        if self.link.direction == "traditional":
            ours = self._projected(ours, others)
        elif self.link.direction == "inverted":
            others = self._projected(others, ours)
        extras = self._extras(given)
        if isinstance(self.link.loss, LevelLoss):
            loss: Tensor = self.losses[0](ours, others, **extras)
            return loss
        values = [
            loss(mine, theirs, **extras)
            for loss, mine, theirs in zip(self.losses, ours, others, strict=True)
        ]
        return self.link.summed(values)

    def _matched(self, level: Level, student: Source, teacher: Source) -> tuple[Tensor, Tensor]:
        """A pair of features in one form and precision, normalised, on one grid."""
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
        ours = normalize(student.formed(level.student, link.compare), link.student_norm)
        theirs = normalize(teacher.formed(level.teacher, link.compare), link.teacher_norm)
        if link.direction != "none" and not torch.is_autocast_enabled(ours.device.type):
            # Only what is projected has to be of the projector's precision; losses take any two,
            # and half precision would overflow where the other side is of single.
            dtype = next(self.projector.parameters(), student.feature).dtype
            if link.direction == "traditional":
                ours = ours.to(dtype)
            else:
                theirs = theirs.to(dtype)
        matched = self._loss.equal_grids
        if teacher.part is not None and ours.ndim == 4:
            self._check_grid(level)
            to = (ours.shape[2], ours.shape[3]) if matched and link.grid == "student" else None
            theirs = cut(theirs, teacher.part, to, resize=link.resize)
        if ours.ndim == 4 and matched:
            return match_grids(ours, theirs, to=link.grid, resize=link.resize)
        return ours, theirs

    def _check_grid(self, level: Level) -> None:
        if level.teacher.grid is not None and self.link.teacher_layout is None:
            raise LayoutError(
                "the teacher's tokens fill no grid, so that the student's view cannot be found in "
                'them. Use compare="pooled", or give teacher and student the same images.'
            )

    def _projected(self, features: list[Tensor], targets: list[Tensor]) -> list[Tensor]:
        projector = self.projector
        if isinstance(projector, _EachLevel):
            return projector(features, targets)  # type: ignore[no-any-return]
        if isinstance(projector, LevelProjector):
            return projector(features)  # type: ignore[no-any-return]
        return [projector.towards(features[0], targets[0])]

    def _extras(self, given: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        needs = self._loss.needs
        if not needs:
            return {}
        found: dict[str, Tensor] = {}
        for name in needs:
            if (value := given.get(name)) is not None:
                found[name] = value
        missing = [name for name in needs if name not in found]
        if missing:
            raise ConfigError(
                f"{type(self._loss).__name__} needs the {' and '.join(missing)} of the images. "
                f"Call distiller(images, {', '.join(f'{name}=…' for name in missing)}); with the "
                "command, choose data whose batches have them, and a task that mixes no images."
            )
        return found


class _EachLevel(LevelProjector):
    """A copy of one projector for every level."""

    def __init__(self, projector: Projector) -> None:
        super().__init__()
        self._pattern = [projector]  # a list: no module of its own
        self.levels = nn.ModuleList()

    def build(self, in_features: Sequence[int], out_features: Sequence[int]) -> None:
        """Makes a projector for each level."""
        for before, after in zip(in_features, out_features, strict=True):
            level = copy.deepcopy(self._pattern[0])
            level.build(before, after)
            self.levels.append(level)

    def forward(self, levels: Sequence[Tensor], targets: Sequence[Tensor] = ()) -> list[Tensor]:
        """The projected features, one a level; what each is compared with is known."""
        return [
            cast("Projector", level).towards(x, target)
            for level, x, target in zip(self.levels, levels, targets, strict=True)
        ]


def _listed(given: Source | Sequence[Source]) -> Sequence[Source]:
    return [given] if isinstance(given, Source) else given
