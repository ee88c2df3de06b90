"""One pass over images that measures every link of a distiller."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.analysis.alignment import Alignment, on_one_grid
from anyteacher.analysis.components import Components, principal
from anyteacher.analysis.directions import Directions, directions_of
from anyteacher.distiller import Distiller, evaluating
from anyteacher.errors import DataError, NonFiniteError
from anyteacher.level import size_of
from anyteacher.losses import Direction
from anyteacher.observation import View
from anyteacher.projectors.base import project
from anyteacher.spectral import (
    Decomposition,
    Moments,
    Projected,
    effective_rank_of,
)
from anyteacher.spectral.gram import eigh


@dataclass(frozen=True)
class Measured:
    """What one level of a link is like, over all rows (images or positions).

    Energies are mean squares of the centred features along their principal directions, the largest
    first, in squared units of the features as they are compared.

    Attributes:
        name: Of the link; `name[0]` for a level of several.
        student_tap: Where the student's feature is from.
        direction: Of its projection.
        projector: The kind of its projector; empty without one.
        regularizer: Of a link without a teacher, its loss with the width and what it leaves free.
        weight: Factor of its loss in the total, the level's in it; once a warm-up is over.
        rows: How many rows were seen.
        student: Energies of the student's feature.
        teacher: Of the teacher's; None without a teacher.
        projected: Of the projected side's; None where nothing is projected.
        cka: Alignment of the student's and the teacher's, both before projection, from 0 to 1.
        decomposition: Of the squared error; None without a linear projector, or where the two
            sides have different positions.
        rank: Of the projector's matrix; None where it is not one matrix.
        directions: What becomes of the teacher's directions; None where nothing is projected.
        pictures: For each side that is a map, its first components on the first images,
            (images, 3, h, w) by `teacher`, `projected` and `student`; see `Components.of`.
        shares: The share of the energy along each of those components, likewise.
    """

    name: str
    student_tap: str
    direction: Direction
    projector: str
    regularizer: str
    weight: float
    rows: int
    student: Float[Tensor, " s"]
    teacher: Float[Tensor, " t"] | None = None
    projected: Float[Tensor, " p"] | None = None
    cka: float | None = None
    decomposition: Decomposition | None = None
    rank: int | None = None
    directions: Directions | None = None
    pictures: dict[str, Float[Tensor, "b 3 h w"]] = field(default_factory=dict)
    shares: dict[str, Float[Tensor, "3"]] = field(default_factory=dict)

    @property
    def student_rank(self) -> float:
        """The effective rank of the student's centred feature."""
        return float(effective_rank_of(self.student))


@dataclass(frozen=True)
class Analysis:
    """What was measured of a distiller.

    Attributes:
        images: How many images were seen.
        links: What was measured of each level of each link.
        alignment: Names of the student's features and of the teachers', and the alignment of each
            pair (s, t), on the smaller of their two grids, or as the link compares them that does;
            None where there is no teacher.
        samples: The first images, as the student is fed, (b, c, h, w).
    """

    images: int
    links: list[Measured]
    alignment: tuple[list[str], list[str], Float[Tensor, "s t"]] | None
    samples: Float[Tensor, "b c h w"]


@torch.no_grad()
def measure(distiller: Distiller, batches: Iterable[Tensor], *, samples: int = 4) -> Analysis:
    """Measures every link, with the models in eval mode and sums in double precision.

    Takes memory of the squares of the widths, whatever the number of images.

    Args:
        distiller: Trained or not.
        batches: Batches of images (B, C, H, W), normalised as in training.
        samples: Of how many of the first images the components are kept, to be drawn.

    Raises:
        DataError: when there is no batch.
        TapError: for batches that are not images alone.
        NonFiniteError: naming the link, when a feature is infinite or not a number.
    """
    taps = _Taps(distiller)
    sums: dict[str, _Sums] = {}
    alignment, images, first = Alignment(), 0, None
    with evaluating(distiller):
        for batch in batches:
            size_of(batch)
            given = batch.to(distiller.step.device)
            images += len(batch)
            first = batch[:samples].cpu() if first is None else first
            views = distiller.views(given)
            for view in views:
                sums.setdefault(view.name, _Sums(view, samples)).add(view)
            students, teachers = taps.features(views)
            if teachers:
                alignment.add(students, teachers)
    if first is None:
        raise DataError("An analysis needs at least one batch of images, and there was none.")
    measured = [
        part.result(tap, loss, weight)
        for part, (tap, _), loss, weight in zip(
            sums.values(), taps.names, taps.losses, taps.weights, strict=True
        )
    ]
    if not any(m.teacher is not None for m in measured):
        return Analysis(images, measured, None, first)
    rows, columns, values = alignment.matrix()
    for found, (mine, theirs) in zip(measured, taps.names, strict=True):
        if found.cka is not None and theirs is not None:
            values[rows.index(mine), columns.index(theirs)] = found.cka
    return Analysis(images, measured, (rows, columns, values), first)


class _Taps:
    """Names the features that links compare, each once however many links compare it."""

    def __init__(self, distiller: Distiller) -> None:
        links = distiller.links
        several = len({link.of for link in links if link.teacher_taps}) > 1
        self.names: list[tuple[str, str | None]] = []
        self.losses: list[str] = []
        self.weights: list[float] = []
        for link, connection in zip(links, distiller.connections, strict=True):
            how = " (pooled)" if link.compare == "pooled" else ""
            ours_norm = "" if link.student_norm == "none" else f", {link.student_norm}"
            theirs_norm = "" if link.teacher_norm == "none" else f", {link.teacher_norm}"
            of = f"{link.of}: " if several else ""
            theirs = [f"{of}{tap}{how}{theirs_norm}" for tap in link.teacher_taps]
            ours = [f"{tap}{how}{ours_norm}" for tap in link.student_taps]
            if theirs:
                self.names += zip(ours, theirs, strict=True)
            else:
                self.names += [(mine, None) for mine in ours]
            self.weights += [link.weight * w for w in link.level_weights or [1.0] * len(ours)]
            taught = [""] * len(theirs)
            self.losses += taught or map(repr, cast("nn.ModuleList", connection.losses))

    def features(self, views: list[View]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Those of the student and of the teachers by name."""
        students: dict[str, Tensor] = {}
        teachers: dict[str, Tensor] = {}
        for view, (mine, theirs) in zip(views, self.names, strict=True):
            students.setdefault(mine, view.compared.student)
            if theirs is not None and view.compared.teacher is not None:
                teachers.setdefault(theirs, view.compared.teacher)
        return students, teachers


class _Sums:
    """The moments of one level, and its features for the first images."""

    def __init__(self, view: View, samples: int) -> None:
        self._view, self._samples = view, samples
        self._first: dict[str, Tensor] = {}
        self._pair: Moments | None = None
        self._projected: Moments | None = None

    def add(self, view: View) -> None:
        """Adds one batch."""
        # What fits each batch anew is fitted to all rows in the end.
        projected = None if view.is_batchwise else view.projected()
        sides = {**view.compared._asdict(), "projected": projected}
        if not self._first:
            kept = {name: f[: self._samples] for name, f in sides.items() if f is not None}
            self._first = {name: f for name, f in kept.items() if f.ndim == 4}
        student, teacher = view.compared
        if teacher is None:  # a second side without channels
            (rows,) = on_one_grid([student])
            self._pair = _sum(self._pair, rows, rows[:, :0])
            return
        self._pair = _sum(self._pair, *on_one_grid([student, teacher]))
        if projected is not None:
            self._projected = _sum(self._projected, *on_one_grid([projected, teacher]))

    def result(self, student_tap: str, regularizer: str, weight: float) -> Measured:
        """What was measured."""
        view, pair = self._view, cast("Moments", self._pair)
        if view.is_batchwise and view.is_decomposable:
            matrix, bias = view.affine_over(pair)
            self._projected = pair.projected(matrix, bias)
            if "teacher" in self._first:
                theirs = self._first["teacher"].to(matrix)
                self._first["projected"] = project(theirs, matrix, bias)
        for sums in filter(None, (pair, self._projected)):
            if not bool((sums.student.sum() + sums.teacher.sum()).isfinite()):
                raise NonFiniteError(
                    f"Link '{view.name}' compares a feature that is infinite or not a number. "
                    "Weights of an earlier step, or full precision, may help."
                )
        found = Measured(
            name=view.name,
            student_tap=student_tap,
            direction=view.direction,
            projector="" if view.projector is None else type(view.projector).__name__,
            regularizer=regularizer,
            weight=weight,
            rows=pair.rows,
            student=_energies(pair.student, pair.rows),
        )
        changes: dict[str, object] = {}
        if view.compared.teacher is not None:
            changes["teacher"] = _energies(pair.teacher, pair.rows)
            changes["cka"] = float(pair.cka())
        if self._projected is not None:
            changes["projected"] = _energies(self._projected.student, self._projected.rows)
            direction = cast("Projected", view.direction)
            changes["directions"] = directions_of(self._projected, direction=direction)
        if view.is_decomposable:
            terms = view.decomposed(pair)
            changes |= {"decomposition": terms, "rank": int(terms.rank)}
        elif view.projector is not None and view.projector.is_linear and not view.is_batchwise:
            changes["rank"] = int(torch.linalg.matrix_rank(view.projector.affine()[0].float()))
        components = dict(self._components(pair))
        changes["pictures"] = {
            name: part.of(self._first[name]).cpu() for name, part in components.items()
        }
        changes["shares"] = {name: part.shares.cpu() for name, part in components.items()}
        return Measured(**{**vars(found), **changes})

    def _components(self, pair: Moments) -> Iterator[tuple[str, Components]]:
        """The first components of each side that is a map; their signs follow the teacher's."""
        like = projected_like = None
        if "teacher" in self._first:
            teacher = principal(pair.teacher_mean, pair.teacher, pair.rows)
            yield "teacher", teacher
            like = teacher.directions.mT @ pair.cross
            if self._projected is not None:
                projected_like = teacher.directions.mT @ self._projected.cross
        if "projected" in self._first and self._projected is not None:
            sums = self._projected
            yield "projected", principal(sums.student_mean, sums.student, sums.rows, projected_like)
        if "student" in self._first:
            yield "student", principal(pair.student_mean, pair.student, pair.rows, like)


def _sum(sums: Moments | None, mine: Tensor, other: Tensor) -> Moments:
    more = Moments.of(mine, other)
    return more if sums is None else sums + more


def _energies(products: Tensor, rows: int) -> Tensor:
    values, _ = eigh(products)
    return values.flip(0).clamp(min=0).cpu() / rows
