"""The energy beyond the main directions: what an inverted projector leaves to the student alone."""

import math
from numbers import Integral, Real
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.regularizers.base import Regularizer, Value
from anyteacher.spectral import tracked_trailing_energy, tracks, trailing_energy


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
        if not _number(steps).is_integer() or steps < 0 or (start is None) != (steps == 0):
            raise ConfigError(
                "TrailingEnergy's schedule needs both a start and a whole number of steps, got "
                f"start={start!r} and steps={steps!r}."
            )
        read = _rank if energy is None else _share
        self.rank = None if rank is None else _rank("rank", rank)
        self.energy = None if energy is None else _share("energy", energy)
        self.start = None if start is None else read("start", start)
        if self.start is not None and type(self.start) is not type(self.rank or self.energy):
            raise ConfigError(
                "TrailingEnergy's start is in the unit of its rank, a number or a share of the "
                f"width, got start={start} and rank={rank}."
            )
        self.steps, self.fraction = int(steps), fraction
        self._follows = False  # whether the basis holds what a batch gave it

    def build(self, width: int) -> None:
        """Makes the buffers: the subspace that is followed, and the step of a schedule.

        Raises:
            LayoutError: when the rank leaves no direction of the width.
        """
        super().build(width)
        followed = False
        if self.rank is not None:
            self.last = self._directions(self.rank)
            self.first = self.last if self.start is None else self._directions(self.start, free=1)
            # A schedule may start with all of them free, which no number of rows changes.
            self.fewest = 1 + max(r for r in (self.first, self.last) if r < width)
            self.most = max(self.first, self.last)
            followed = tracks(width, self.most)
            self.register_buffer("basis", torch.zeros(width, self.most) if followed else None)
        else:
            self.fewest = 2
        if self.steps or followed:
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

    def _directions(self, rank: int | float, free: int = 0) -> int:
        directions = rank if isinstance(rank, int) else max(1, round(rank * self.width))
        if directions >= self.width + free:
            raise LayoutError(
                f"TrailingEnergy of rank {directions} leaves nothing of {self.width} channels: "
                f"give a rank below {self.width}, or a share of the width such as 0.25."
            )
        return directions

    def measure(self, rows: Float[Tensor, "n c"], count: int) -> Value:
        """See `spectral.trailing_energy`."""
        settings = {"fraction": self.fraction, "centre": self.centre, "reduce": self._reduces}
        state = {} if getattr(self, "step", None) is None else {"step": self.step + 1}
        if self.energy is not None:
            share = self._scheduled(self.start, self.energy)
            return trailing_energy(rows, energy=share, **settings), state
        rank = self._scheduled(self.first, self.last)
        if isinstance(rank, Tensor):
            rank = rank.round().long()
        # By the rows of all: processes that chose apart would have losses of their own.
        pays = tracks(min(count, self.width), self.most, rows.device)
        # What training has followed says nothing of other data.
        if self.basis is None or not (pays and self.training):
            return trailing_energy(rows, rank, **settings), state
        start = self.basis if self._follows else None
        value, basis = tracked_trailing_energy(
            rows, rank, start, turn=self.step, most=self.most, **settings
        )
        return value, state | {"basis": basis.to(self.basis.dtype), "_follows": True}

    def _scheduled(self, first: Any, last: Any) -> Any:
        if not self.steps:
            return last
        return first + (last - first) * (self.step / self.steps).clamp(max=1)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if (basis := getattr(self, "basis", None)) is not None:
            self._follows = bool(basis.any())


def _number(given: Any) -> float:
    """A number of any kind, not True or False; what is none is not a number."""
    is_number = isinstance(given, Real) and given is not True and given is not False
    return float(given) if is_number else math.nan


def _rank(name: str, given: Any) -> int | float:
    """A number of directions, or a share of the width."""
    number = _number(given)
    # A file or a flag may say 8.0 where it means 8. 1.0 may be meant for the width: it is refused.
    if number.is_integer() and (number > 1 or (number == 1 and isinstance(given, Integral))):
        return int(number)
    if 0 < number < 1:
        return number
    raise ConfigError(
        f"TrailingEnergy's {name} is a whole number of directions, at least 1, or a share of the "
        f"width between 0 and 1, got {given!r}."
    )


def _share(name: str, given: Any) -> float:
    number = _number(given)
    if 0 < number < 1:
        return number
    raise ConfigError(
        f"TrailingEnergy's {name} is a share of the energy between 0 and 1, got {given!r}."
    )
