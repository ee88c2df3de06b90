"""Losses of the student's features alone: distillation without a teacher.

An inverted projector of rank r leaves the energy of the student's features outside r directions to
be reduced, and the teacher has no part in that (`spectral.decompose`). These losses do the same, or
something like it, without a teacher or a projector.

Source: Auty, Miles, Kolbeinsson and Mikolajczyk, "Learning to Project for Cross-Task Knowledge
Distillation", arXiv 2403.14494, 2024, who derive a loss without a teacher from the inverted
projector. The forms and the derivation here are this project's own.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError, LayoutError, NonFiniteError
from anyteacher.layout import to_rows
from anyteacher.objective import Objective
from anyteacher.parallel import total, world_size
from anyteacher.spectral import (
    effective_rank,
    log_det,
    nuclear_norm,
    tracked_trailing_energy,
    tracks,
    trailing_energy,
)

_Measured: TypeAlias = tuple[Tensor, dict[str, Any]]


class Regularizer(Objective, ABC):
    """A loss of one feature, a map (B, C, H, W) or a vector (B, C); every position is a row.

    A final subclass stores hyperparameters and calls a function of `spectral` in `measure`. It
    depends on the batch as a whole: on n = B H W rows of d = C channels.

    Args:
        centre: Whether to take the mean row off first. By default the mean is a direction like
            others, as it is for a projector without a bias.
        reduce: Whether, in training, the rows are those of all processes together, so that the
            gradients are those of the whole batch. Costs the communication of a (d, d) matrix.

    Attributes:
        fewest: The fewest rows that say anything, before centring.
        remedy: What else helps where there are fewer, for the message.
        check_finite: Whether a loss that is not finite is an error here; in a distiller it is one
            there. The check waits for the device.
    """

    fewest: int = 1
    remedy: ClassVar[str] = ""
    check_finite: bool = True
    width: int = 0

    def __init__(self, centre: bool = False, reduce: bool = True) -> None:
        super().__init__()
        self.centre, self.reduce = centre, reduce

    def build(self, width: int) -> None:
        """Makes buffers, once the width is known.

        Raises:
            LayoutError: when the hyperparameters do not go with this width.
        """
        self.width = width

    def forward(self, x: Float[Tensor, "b c *grid"]) -> Float[Tensor, ""]:
        """The loss as a 0-dim tensor, in single precision or better.

        Raises:
            LayoutError: when there are too few rows to learn from, or another number of channels
                than was built.
            NonFiniteError: when a feature is infinite or not a number.
        """
        name = type(self).__name__
        if x.shape[1] != self.width:
            known = f"was built for {self.width} channels" if self.width else "was not built"
            raise LayoutError(
                f"{name} {known} and got a feature of shape {tuple(x.shape)}, which has its "
                f"channels second: (B, C) or (B, C, H, W). Call build({x.shape[1]}) for it first, "
                "or bring tokens (B, N, C) to rows (B N, C)."
            )
        rows = to_rows(x)
        count, least = len(rows), self.fewest + self.centre
        if self._reduces and world_size() > 1:
            count = int(total(torch.tensor(count, device=x.device)))
        # Where nothing learns from it, a short last batch or a single image does no harm.
        if count < (least if self.training and torch.is_grad_enabled() else 1):
            raise LayoutError(
                f"{name} needs at least {least} rows (images times positions), got {count} from a "
                f"feature of shape {tuple(x.shape)}. Use a larger batch (drop_last=True for the "
                f"last of an epoch) or an earlier tap with more positions{self.remedy}."
            )
        value, state = self.measure(rows, count)
        checked = self.check_finite and not torch.compiler.is_compiling()
        if checked and not bool(value.isfinite()):
            raise NonFiniteError(
                f"{name} is {float(value)}: a feature of shape {tuple(x.shape)} is infinite or not "
                "a number, or too large to be squared. A smaller learning rate, a normalised "
                "feature or full precision may help."
            )
        if self.training and torch.is_grad_enabled():
            for buffer, content in state.items():
                setattr(self, buffer, content)  # not in place, as the distiller's step
        return value

    @property
    def _reduces(self) -> bool:
        # In validation the processes need not have as many batches as each other.
        return self.reduce and self.training

    @abstractmethod
    def measure(self, rows: Float[Tensor, "n c"], count: int) -> _Measured:
        """The loss of a feature matrix, and what the buffers hold after a step of training.

        Args:
            rows: Of this process.
            count: How many there are, of all processes together where they are added up.
        """

    def extra_repr(self) -> str:
        """The width, for printing."""
        return f"{self.width} channels"


class TrailingEnergy(Regularizer):
    """The energy of the features beyond their first r principal directions.

    `sum_{i>r} sigma_i^2 / (n d)` with singular values `sigma_1 >= sigma_2 >= …` of the n rows: the
    mean squared error of their best approximation of rank r, in squared units of the features. The
    gradient is `2 Z (I - V_r V_r^T) / (n d)`, with the first r right singular vectors V_r taken for
    constants. For wide features and a small rank V_r is followed from batch to batch by power
    iteration (see `spectral.tracks`); else, and where a share of the energy is given, it is found
    anew.

    Source: the spectral term in Auty et al., arXiv 2403.14494; exact form and gradient by Eckart
    and Young (1936) and the envelope theorem.

    Args:
        rank: How many directions are free: a number from 1 to the width, or a share of the width
            between 0 and 1, such as 0.25.
        energy: Instead of a rank, the share of the energy that is free, between 0 and 1; the rank
            is then the fewest directions that hold it, batch by batch.
        start: Where `rank` or `energy` starts, in its units; it goes from there in a straight line.
        steps: Over how many training steps; 0 for a constant. A step is a forward pass in training
            mode, so accumulated batches count each.
        fraction: Whether to divide by the whole energy rather than n d. It does not see the scale
            of the features, which a normalisation after them can undo.
        centre: See `Regularizer`.
        reduce: See `Regularizer`.

    Raises:
        ConfigError: for an impossible rank, share or schedule.
    """

    step: Tensor
    remedy = ", or a smaller rank"
    basis: Tensor | None

    def __init__(
        self,
        rank: int | float | None = None,
        *,
        energy: float | None = None,
        start: int | float | None = None,
        steps: int = 0,
        fraction: bool = False,
        centre: bool = False,
        reduce: bool = True,
    ) -> None:
        super().__init__(centre, reduce)
        if (rank is None) == (energy is None):
            raise ConfigError(
                "TrailingEnergy needs either a rank, such as 8 or 0.25 of the width, or the share "
                f"of the energy that is free, such as 0.9; got rank={rank} and energy={energy}."
            )
        if steps < 0 or (start is None) != (steps == 0):
            raise ConfigError(
                "TrailingEnergy's schedule needs both a start and a positive number of steps, got "
                f"start={start} and steps={steps}."
            )
        # A file or a flag may say 8.0 where it means 8.
        rank, start = _number(rank), start if energy is not None else _number(start)
        _check(rank, energy)
        if start is not None:
            _check(*(start, None) if energy is None else (None, start))
        self.rank, self.energy, self.start, self.steps = rank, energy, start, steps
        self.fraction = fraction
        self._follows = False  # whether the basis holds what a batch gave it

    def build(self, width: int) -> None:
        """Makes the buffers: the subspace that is followed, and the step of a schedule.

        Raises:
            LayoutError: when the rank is above the width.
        """
        super().build(width)
        if self.energy is None:
            self.last = self._directions(self.rank)
            self.first = self.last if self.start is None else self._directions(self.start)
            self.fewest = self.last + 1
            self.most = max(self.first, self.last)
            followed = tracks(width, self.most)
            self.register_buffer("basis", torch.zeros(width, self.most) if followed else None)
        else:
            self.fewest = 2
        if self.steps:
            self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def extra_repr(self) -> str:
        """The width, what is free, and how the directions are found."""
        if self.energy is not None:
            return f"{self.width} channels, {self.energy} of the energy free, found anew"
        free = f"{self.rank} free"
        if not self.width:
            return free
        how = "found anew" if self.basis is None else "followed where spectral.tracks says so"
        return f"{self.width} channels, {free}, {how}"

    def _directions(self, rank: int | float | None) -> int:
        assert rank is not None
        directions = rank if isinstance(rank, int) else max(1, round(rank * self.width))
        if directions > self.width:
            raise LayoutError(
                f"TrailingEnergy of rank {directions} leaves nothing of {self.width} channels: "
                f"give a rank below {self.width}, or a share of the width such as 0.25."
            )
        return directions

    def measure(self, rows: Float[Tensor, "n c"], count: int) -> _Measured:
        """See `spectral.trailing_energy`."""
        settings = {"fraction": self.fraction, "centre": self.centre, "reduce": self._reduces}
        state = {"step": self.step + 1} if self.steps else {}
        if self.energy is not None:
            share = self._scheduled(self.start, self.energy)
            return trailing_energy(rows, energy=share, **settings), state
        rank = self._scheduled(self.first, self.last)
        if isinstance(rank, Tensor):
            rank = rank.round().long()
        # By the rows of all: processes that chose apart would have losses of their own.
        if self.basis is None or not tracks(min(count, self.width), self.most, rows.device):
            return trailing_energy(rows, rank, **settings), state
        start = self.basis if self._follows else None
        value, basis = tracked_trailing_energy(rows, rank, start, most=self.most, **settings)
        return value, state | {"basis": basis.to(self.basis.dtype), "_follows": True}

    def _scheduled(self, first: Any, last: Any) -> Any:
        if not self.steps:
            return last
        return first + (last - first) * (self.step / self.steps).clamp(max=1)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if (basis := getattr(self, "basis", None)) is not None:
            self._follows = bool(basis.any())


def _number(rank: int | float | None) -> int | float | None:
    # 1.0 stays: it may be meant for the whole width, and is refused.
    return int(rank) if isinstance(rank, float) and rank > 1 and rank.is_integer() else rank


def _check(rank: int | float | None, energy: int | float | None) -> None:
    if isinstance(rank, int):
        if rank < 1:
            raise ConfigError(f"TrailingEnergy needs a rank of at least 1, got {rank}.")
    elif rank is not None and not 0 < rank < 1:
        raise ConfigError(
            f"TrailingEnergy's rank as a share of the width is between 0 and 1, got {rank}. A "
            "whole number is a number of directions."
        )
    if energy is not None and not 0 < energy < 1:
        raise ConfigError(f"TrailingEnergy's share of the energy is between 0 and 1, got {energy}.")


class NuclearNorm(Regularizer):
    """The sum of the singular values, `sum_i sigma_i / (sqrt(n) d)`, in units of the features.

    It takes as much from every direction, so that the weak ones vanish first. See
    `spectral.nuclear_norm`; for the source, see `TrailingEnergy`.

    Args:
        centre: See `Regularizer`.
        reduce: See `Regularizer`.
    """

    def measure(self, rows: Float[Tensor, "n c"], count: int) -> _Measured:
        """See `spectral.nuclear_norm`."""
        return nuclear_norm(rows, centre=self.centre, reduce=self._reduces), {}


class LogDet(Regularizer):
    """`(1 / d) sum_i log(1 + sigma_i^2 / (n eps))`, a smooth stand-in for the rank; no unit.

    See `spectral.log_det`; for the source, see `TrailingEnergy`.

    Args:
        eps: The mean square from which a direction counts, in squared units of the features.
        centre: See `Regularizer`.
        reduce: See `Regularizer`.
    """

    def __init__(self, eps: float = 1e-2, centre: bool = False, reduce: bool = True) -> None:
        super().__init__(centre, reduce)
        if not eps > 0:
            raise ConfigError(f"LogDet needs a positive eps, got {eps}. 0.01 is the default.")
        self.eps = eps

    def measure(self, rows: Float[Tensor, "n c"], count: int) -> _Measured:
        """See `spectral.log_det`."""
        return log_det(rows, eps=self.eps, centre=self.centre, reduce=self._reduces), {}


class EffectiveRank(Regularizer):
    """1 - effective rank / d: from 0 for directions of equal energy to almost 1 for a single one.

    Unlike the others it *spreads* the features over more directions, against collapse. It does not
    see their scale. See `spectral.effective_rank`.

    Args:
        centre: See `Regularizer`.
        reduce: See `Regularizer`.
    """

    fewest = 2

    def measure(self, rows: Float[Tensor, "n c"], count: int) -> _Measured:
        """See `spectral.effective_rank`."""
        rank = effective_rank(rows, centre=self.centre, reduce=self._reduces)
        return 1 - rank / self.width, {}
