"""Looking at the features of links while they train: their terms, their ranks, their collapse."""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import AnyteacherError, CollapseWarning, ConfigError, NonFiniteError
from anyteacher.layout import to_rows
from anyteacher.level import Compared
from anyteacher.losses import Direction
from anyteacher.parallel import total, world_size
from anyteacher.projectors import Projector
from anyteacher.spectral import (
    Decomposition,
    Moments,
    Projected,
    decompose,
    decompose_moments,
    effective_rank,
)
from anyteacher.spectral.gram import precise


@dataclass(frozen=True)
class Observation:
    """What the features of one level of a link are like, over the rows of all processes.

    All are 0-dim tensors.

    Attributes:
        energy: The mean square of the student's features, as they are compared.
        centred_rank: Their effective rank, the mean row taken off; from 0 to the width.
        energy_left: The energy as a share of that of the first observation.
        rank_left: The effective rank likewise, as a share of the most that the rows allow.
        decomposition: Of the squared error between the compared features, whatever the link's loss;
            None where there is no linear projector or the two sides have different positions.
    """

    energy: Float[Tensor, ""]
    centred_rank: Float[Tensor, ""]
    energy_left: Float[Tensor, ""]
    rank_left: Float[Tensor, ""]
    decomposition: Decomposition | None = None


class CollapseGuard:
    """Warns when the student's features collapse: once for each level of a link.

    Features of zeros make an inverted link's loss zero too; only the task's loss opposes them.
    Ranks of few rows and of many do not compare: an observation of fewer than half as many rows as
    the first is not judged, and one of more than twice as many is a new first for the rank. Nor are
    features judged that are not finite, which are for the loss to report.

    Args:
        energy: The share of the first observation's energy below which features have collapsed;
            from 0, never, to 1.
        rank: The share of its effective rank likewise, each as a share of the most that so many
            rows can have.

    Raises:
        ConfigError: for other shares.
    """

    def __init__(self, energy: float = 0.01, rank: float = 0.1) -> None:
        if not (0 <= energy <= 1 and 0 <= rank <= 1):
            raise ConfigError(
                f"A CollapseGuard's shares are from 0 to 1, got energy={energy} and rank={rank}."
            )
        self.shares = {"energy": energy, "effective rank": rank}
        self._starts: dict[str, dict[str, float]] = {}
        self._warned: list[str] = []

    def left(
        self, name: str, energy: Tensor, rank: Tensor, rows: int, step: int | None
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """What is left of the energy and the effective rank of a level's first observation.

        A start of zero counts as kept: there is nothing to lose.

        Args:
            name: Of the level.
            energy: Its energy now, 0-dim.
            rank: Its effective rank now, 0-dim, as a share of the most that the rows allow.
            rows: Of how many rows.
            step: For the warning; None outside of training, which is compared and nothing else.
        """
        now = {"energy": float(energy), "effective rank": float(rank)}
        seen = {**now, "rows": float(rows)}
        start = self._starts.get(name, seen)
        finite = all(map(math.isfinite, now.values()))
        if step is not None and finite and (rows > 2 * start["rows"] or name not in self._starts):
            start = self._starts[name] = {**seen, "energy": start["energy"]}
        left = {key: 1.0 if start[key] == 0 else now[key] / start[key] for key in now}
        if step is not None and finite and 2 * rows >= start["rows"]:
            fallen = [key for key, share in self.shares.items() if left[key] < share]
            if fallen and name not in self._warned:
                self._warned.append(name)
                self._warn(name, step, {key: (start[key], now[key]) for key in fallen})
        return energy.new_tensor(left["energy"]), energy.new_tensor(left["effective rank"])

    def _warn(self, name: str, step: int, fallen: Mapping[str, tuple[float, float]]) -> None:
        if world_size() > 1 and dist.get_rank() > 0:
            return  # the numbers are the same for all
        what = " and the ".join(
            f"{key} from {was:.3g} to {now:.3g}{' of the most possible' * (key != 'energy')}"
            for key, (was, now) in fallen.items()
        )
        warnings.warn(
            f"Link '{name}': the student's features have collapsed by step {step}, the {what}. "
            "The link's loss may be small for that reason alone. A smaller weight, a normalised "
            "feature (student_norm) or a loss that spreads them (regularizers.EffectiveRank) may "
            "help.",
            CollapseWarning,
            stacklevel=2,
        )

    def state(self) -> dict[str, Any]:
        """The first observations and which levels were warned of, for the checkpoint."""
        starts = {name: dict(start) for name, start in self._starts.items()}
        return {"starts": starts, "warned": list(self._warned)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes them from a checkpoint."""
        self._starts, self._warned = dict(state["starts"]), list(state["warned"])


class View(NamedTuple):
    """One level of a link, to look at.

    Attributes:
        name: Of the link, and which level of it where there are several.
        direction: Of the projection.
        projector: Of the level, if it has one.
        compared: Its features.
    """

    name: str
    direction: Direction
    projector: Projector | None
    compared: Compared

    @torch.no_grad()
    def projected(self) -> Tensor | None:
        """The projected side (B, C, *grid); None where nothing is, or all levels are at once.

        Raises:
            LayoutError: naming the link, when the features do not fit the projector.
        """
        student, teacher = self.compared
        if self.projector is None or teacher is None:
            return None
        before, after = (teacher, student) if self.direction == "inverted" else (student, teacher)
        with self._blamed():
            return self.projector.towards(before, after)

    def decomposed(self, moments: Moments | None = None) -> Decomposition:
        """The decomposition of its projector, over the rows of some moments or its own.

        Args:
            moments: Of the rows; None for those of this view, without the difference of moments.

        Raises:
            ConfigError: for a projector that is not linear.
            LayoutError: for one that is fitted, where there are too few rows.
            NonFiniteError: when a feature or the projector is infinite or not a number.

        All name the link.
        """
        direction = cast("Projected", self.direction)
        affine = self.affine_over(moments)
        with self._blamed():
            if moments is not None:
                return decompose_moments(moments, *affine, direction=direction)
            rows = to_rows(self.compared.student), to_rows(cast("Tensor", self.compared.teacher))
            return decompose(*rows, *affine, direction=direction)

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except AnyteacherError as error:
            raise type(error)(f"Link '{self.name}': {error}") from error

    def affine_over(self, moments: Moments | None = None) -> tuple[Tensor, Tensor | None]:
        """The matrix and offset of its projector, for the rows of some moments or its own.

        Args:
            moments: Of the rows; None for those of this view.

        Raises:
            ConfigError: for a projector that is not linear.
            LayoutError: for one that is fitted, where there are too few rows.

        Both name the link.
        """
        projector = cast("Projector", self.projector)
        with self._blamed():
            if moments is None and not projector.batchwise:
                return projector.affine()
            return projector.affine_over(moments or moments_of(self.compared))

    @property
    def is_batchwise(self) -> bool:
        """Whether it has a projector that fits every batch anew."""
        return self.projector is not None and self.projector.batchwise

    @property
    def is_decomposable(self) -> bool:
        """Whether it has a linear projector, and features with rows that belong together."""
        student, teacher = self.compared.student, self.compared.teacher
        return (
            self.projector is not None
            and self.projector.is_linear
            and teacher is not None
            and student.shape[:1] + student.shape[2:] == teacher.shape[:1] + teacher.shape[2:]
        )


@torch.no_grad()
def observed(view: View, guard: CollapseGuard, step: int | None) -> Observation:
    """The observation of one level of a link.

    Args:
        view: The level.
        guard: Which may warn.
        step: For the warning; None outside of training.
    """
    student = to_rows(view.compared.student)
    count = total(torch.tensor(student.numel(), device=student.device))
    energy = total(precise(student).square().sum()) / count
    rank = effective_rank(student, centre=True, reduce=True)
    width = student.shape[1]
    rows = int(count) // width
    most = max(1, min(rows - 1, width))
    left = guard.left(view.name, energy, rank / most, rows, step)
    return Observation(energy, rank, *left, _decomposition(view))


def moments_of(compared: Compared) -> Moments:
    """The moments of a level's features, in double precision.

    Raises:
        LayoutError: when the teacher's feature has other positions.
    """
    teacher = cast("Tensor", compared.teacher)
    return Moments.of(to_rows(compared.student).double(), to_rows(teacher).double())


def _decomposition(view: View) -> Decomposition | None:
    if not view.is_decomposable:
        return None
    shared = moments_of(view.compared).reduced() if world_size() > 1 else None
    try:
        return view.decomposed(shared)
    except NonFiniteError:
        return None  # the loss says so, unless it was told not to
