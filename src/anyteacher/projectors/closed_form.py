"""The projector that fits best, found from the features themselves and not learned."""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.layout import to_rows
from anyteacher.parallel import total, world_size
from anyteacher.projectors.base import Projector, project
from anyteacher.spectral import Moments, closed_form_moments

# With n unrelated rows a fit of d channels explains d / n of any energy: at this many a channel,
# half of it.
_ROWS_A_CHANNEL = 2


class _Moments(NamedTuple):
    """Averages over rows, which may have weights.

    Attributes:
        rows: The sum of the weights, which are 1 in a single batch.
        squares: The sum of their squares.
        teacher_mean: The mean row of the teacher's features; zeros without a bias.
        student_mean: Of the student's, likewise.
        teacher: The mean of products of the teacher's channels, around its mean where it has one.
        cross: Of the teacher's with the student's, likewise.
    """

    rows: int | Float[Tensor, ""]
    squares: int | Float[Tensor, ""]
    teacher_mean: Float[Tensor, " t"]
    student_mean: Float[Tensor, " s"]
    teacher: Float[Tensor, "t t"]
    cross: Float[Tensor, "t s"]


class ClosedForm(Projector):
    """The inverted projector in closed form: ridge regression, without anything to learn.

    `P = (Z_t^T Z_t / n + ridge I)^-1 Z_t^T Z_s / n`, of features with one row for each image or
    position. With the squared error it leaves the student the loss `||(I - Pi_t) Z_s||^2`: what the
    teacher cannot explain by any matrix. It fits the squared error whatever the link's loss.

    Without a decay, P is that of the batch, and the gradient reaches the student through P too.
    With one, the moments are averaged over the batches of training and P counts as a constant: for
    batches of too few rows. It lags behind the student by about `1 / (1 - decay)` batches.

    A fit to few rows explains anything. Fewer than twice as many as the teacher has channels are
    refused; with just as many, half of what has nothing to do with the teacher is explained.
    Averages count as `(sum of weights)^2 / (sum of squared weights)` rows (Kish, 1965),
    `(1 + decay) / (1 - decay)` times those of a batch in the long run; `anyteacher.prefit` fills
    them before training. In a compiled graph, averages of too few rows give a loss that is not a
    number instead of an error.

    In double precision where the features are, else in single, under autocast too.

    Args:
        decay: Of the weight of earlier batches, from batch to batch, such as 0.99; below 1. 0 for
            the batch alone. A step is a forward pass in training mode, so accumulated batches count
            each.
        ridge: Positive; an absolute number in the unit of the teacher's mean square, so that a
            teacher of small features is to be normalised (`teacher_norm`).
        bias: Whether to fit an offset too.
        reduce: Whether, in training, the rows are those of all processes together. The gradients
            that data parallelism averages are then those of the whole batch, if each process weighs
            its loss by its share of the rows. Without it every process has a fit of its own; with a
            decay that cannot be, as averages are one state for all.

    Raises:
        ConfigError: for a decay or ridge out of range.

    Source: Hoerl and Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal Problems",
    Technometrics 1970, for the fit.
    """

    directions = ("inverted",)
    because = (
        "a fit to the teacher would undo every linear change of the student's features, and divide "
        "by moments that the student can shrink"
    )
    fitted = True

    rows: Tensor
    squares: Tensor
    teacher_mean: Tensor
    student_mean: Tensor
    teacher: Tensor
    cross: Tensor

    def __init__(
        self, decay: float = 0.0, ridge: float = 1e-3, bias: bool = False, reduce: bool = True
    ) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ConfigError(
                f"ClosedForm's decay is from 0, the batch alone, to below 1, got {decay}. 0.99 "
                "averages over some hundred batches."
            )
        if not 0 < ridge < math.inf:
            raise ConfigError(
                f"ClosedForm needs a positive ridge, got {ridge}. 0.001 is the default."
            )
        if decay and not reduce:
            raise ConfigError(
                f"ClosedForm with decay={decay} averages over the batches of all processes, which "
                "have one state in common. reduce=False goes with decay=0."
            )
        self.decay, self.ridge = decay, ridge
        self.use_bias, self.reduce = bias, reduce

    def _build(self, in_features: int, out_features: int) -> None:
        self.needed = _ROWS_A_CHANNEL * in_features
        self.register_buffer("rows", torch.zeros(()))
        self.register_buffer("squares", torch.zeros(()))
        self.register_buffer("teacher_mean", torch.zeros(in_features))
        self.register_buffer("student_mean", torch.zeros(out_features))
        self.register_buffer("teacher", torch.zeros(in_features, in_features))
        self.register_buffer("cross", torch.zeros(in_features, out_features))

    def forward(
        self, x: Float[Tensor, "b c *grid"], target: Float[Tensor, "k d *_"] | None = None
    ) -> Float[Tensor, "b d *grid"]:
        """The projected feature, in single precision or better.

        Args:
            x: The teacher's feature.
            target: The student's, to fit to; None for the fit of last time.

        Raises:
            LayoutError: when too few rows have been seen, or the two have other positions.
        """
        with torch.autocast(x.device.type, enabled=False):
            if target is None or (self.decay and not self._learns):
                weight, bias = self.affine()
            elif self.decay:
                batch = self._measured(x.detach(), target.detach())
                moments = self._averaged(batch, self.decay)
                weight, bias = self._solved(moments, int(batch.rows))
                self._keep(moments)
            else:
                moments = self._measured(x, target)
                weight, bias = self._solved(moments)
                if self._learns:
                    self._keep(moments)
            dtype = torch.promote_types(x.dtype, weight.dtype)
            return project(x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))

    def affine(self) -> tuple[Float[Tensor, "d c"], Float[Tensor, " d"] | None]:
        """The matrix and offset of last time, without a history.

        Raises:
            LayoutError: when too few rows have been seen.
        """
        with torch.autocast(self.teacher.device.type, enabled=False):
            return self._solved(_Moments(*(getattr(self, name) for name in _Moments._fields)))

    @torch.no_grad()
    def affine_over(
        self, moments: Moments
    ) -> tuple[Float[Tensor, "d c"], Float[Tensor, " d"] | None]:
        """The matrix and offset that fit these rows best; those of the averages with a decay.

        Args:
            moments: Of the student's and the teacher's features.

        Raises:
            LayoutError: when there are too few rows.
        """
        if self.decay:
            return self.affine()
        teacher, cross = moments.teacher, moments.cross
        if not self.use_bias:
            _, cross, teacher = moments.raw()
        means = moments.teacher_mean, moments.student_mean
        products = teacher / moments.rows, cross / moments.rows
        return self._solved(_Moments(moments.rows, moments.rows, *means, *products))

    @torch.no_grad()
    def prefit(self, x: Float[Tensor, "b c *grid"], target: Float[Tensor, "k d *_"]) -> None:
        """Adds a batch to the averages, at the same weight as those before it.

        Args:
            x: The teacher's feature.
            target: The student's.

        Raises:
            LayoutError: when the two have other positions.
        """
        with torch.autocast(x.device.type, enabled=False):
            self._keep(self._averaged(self._measured(x, target, shared=self.reduce), 1.0))

    @property
    def is_ready(self) -> bool:
        """Whether averages have seen enough rows; batches alone always have."""
        return not self.decay or bool(self._suffices(self.rows, self.squares))

    @property
    def seen(self) -> float:
        """How many rows its averages, or its last batch, count as."""
        return _count(self.rows, self.squares)

    @property
    def batchwise(self) -> bool:  # type: ignore[override]
        """Whether every batch has a fit of its own."""
        return not self.decay

    @property
    def _learns(self) -> bool:
        return self.training and torch.is_grad_enabled()

    def _measured(self, x: Tensor, target: Tensor, shared: bool | None = None) -> _Moments:
        """The moments of a batch, with the history of the features.

        Args:
            x: The teacher's feature.
            target: The student's.
            shared: Whether it is the batch of all processes; unless told, as a step wants it.
        """
        if (x.shape[1], target.shape[1]) != (self.in_features, self.out_features):
            raise LayoutError(
                f"ClosedForm was built for {self.in_features} channels of the teacher and "
                f"{self.out_features} of the student, and got features of shape {tuple(x.shape)} "
                f"and {tuple(target.shape)}."
            )
        if x.shape[:1] + x.shape[2:] != target.shape[:1] + target.shape[2:]:
            raise LayoutError(
                "ClosedForm pairs the rows of both sides, and got features of other positions: the "
                f"teacher's {tuple(x.shape)} and the student's {tuple(target.shape)}. Use a loss "
                "that brings both to one grid, such as losses.MSE(), or compare='pooled'."
            )
        dtype = torch.promote_types(x.dtype, torch.promote_types(target.dtype, self.teacher.dtype))
        theirs, mine = to_rows(x).to(dtype), to_rows(target).to(dtype)
        if (
            shared is None
        ):  # in validation the processes need not have as many batches as each other
            shared = self.reduce and self.training
        shared = shared and world_size() > 1

        def add(part: Tensor) -> Tensor:
            return total(part) if shared else part

        rows = len(theirs)
        if shared:
            rows = int(total(torch.tensor(rows, device=x.device)))
        teacher_mean, student_mean = self.teacher_mean, self.student_mean
        if self.use_bias:
            teacher_mean, student_mean = add(theirs.sum(0)) / rows, add(mine.sum(0)) / rows
            # Centred products do not depend on the student's mean: it is here for their rounding.
            theirs, mine = theirs - teacher_mean, mine - student_mean.detach()
        products = add(theirs.mT @ theirs) / rows, add(theirs.mT @ mine) / rows
        return _Moments(rows, rows, teacher_mean, student_mean, *products)

    def _averaged(self, batch: _Moments, decay: float) -> _Moments:
        """The moments kept and those of a batch together (Chan, Golub and LeVeque, 1983)."""
        rows = self.rows * decay + batch.rows
        share = batch.rows / rows
        theirs = batch.teacher_mean - self.teacher_mean
        mine = batch.student_mean - self.student_mean
        apart = share * (1 - share) * theirs
        return _Moments(
            rows,
            self.squares * decay**2 + batch.rows,
            self.teacher_mean + share * theirs,
            self.student_mean + share * mine,
            self.teacher + share * (batch.teacher - self.teacher) + torch.outer(apart, theirs),
            self.cross + share * (batch.cross - self.cross) + torch.outer(apart, mine),
        )

    def _solved(self, moments: _Moments, batch: int = 0) -> tuple[Tensor, Tensor | None]:
        """The matrix and offset that fit best."""
        enough = self._suffices(moments.rows, moments.squares)
        # A compiled graph cannot stop where a tensor says so.
        compiled = torch.compiler.is_compiling() and isinstance(enough, Tensor)
        if not compiled and not enough:
            raise self._too_few(moments, batch)
        weight = closed_form_moments(moments.teacher, moments.cross, ridge=self.ridge)
        if compiled:
            weight = torch.where(enough, weight, torch.nan)
        if not self.use_bias:
            return weight, None
        return weight, moments.student_mean - weight @ moments.teacher_mean

    def _suffices(self, rows: Any, squares: Any) -> Any:
        return (rows**2 >= self.needed * squares) & (rows > 0)

    def _too_few(self, moments: _Moments, batch: int) -> LayoutError:
        advice = "fill its averages before training: anyteacher.prefit(distiller, batches)"
        least = (self.needed - batch) / (self.needed + batch)
        if not self.decay:
            advice = (
                "average over batches: ClosedForm(decay=0.99) and, before training, "
                "anyteacher.prefit(distiller, batches)"
            )
        elif batch and self.decay < least:
            decay = math.ceil(least * 1e4) / 1e4
            advice = f"for batches of {batch} rows a decay of at least {decay:g}"
        return LayoutError(
            f"ClosedForm needs at least {self.needed} rows (images, or images times positions) for "
            f"a teacher of {self.in_features} channels, and has seen "
            f"{_count(moments.rows, moments.squares):.0f}. With fewer, it explains almost any "
            f"student. Use compare='positions' or a larger batch, or {advice}."
        )

    def _keep(self, moments: _Moments) -> None:
        # Where the loss of this batch is no number, later ones must not suffer from it.
        good = (moments.teacher.detach().sum() + moments.cross.detach().sum()).isfinite()
        for name, value in moments._asdict().items():
            buffer = getattr(self, name)
            new = value.detach() if isinstance(value, Tensor) else buffer.new_full((), value)
            # Not in place, as the distiller's step.
            setattr(self, name, torch.where(good, new.to(buffer.dtype), buffer))

    def _apply(self, fn: Any, recurse: bool = True) -> "ClosedForm":
        kept = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in kept.items():
            moved = getattr(self, name)
            # Half precision has no room for sums of squares: the averages stay as they were.
            if moved.dtype != torch.promote_types(moved.dtype, torch.float32):
                setattr(self, name, buffer.to(moved.device))
        return self


def _count(rows: int | Tensor, squares: int | Tensor) -> float:
    """How many rows weights count as, from their sum and that of their squares."""
    return float(rows) ** 2 / float(squares) if squares else 0.0
