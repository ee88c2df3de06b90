"""Losses that are functions of the whole spectrum."""

import math

from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError
from anyteacher.regularizers.base import Regularizer, Value
from anyteacher.spectral import effective_rank, log_det, nuclear_norm


class NuclearNorm(Regularizer):
    """The sum of the singular values, `sum_i sigma_i / (sqrt(n) d)`, in units of the features.

    It takes as much from every direction, so that the weak ones vanish first. See
    `spectral.nuclear_norm`; for the source, see `TrailingEnergy`.

    Args:
        centre: See `Regularizer`.
        reduce: See `Regularizer`.
    """

    def measure(self, rows: Float[Tensor, "n c"], count: int) -> Value:
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
        if not (isinstance(eps, int | float) and 0 < eps < math.inf):
            raise ConfigError(f"LogDet needs a positive eps, got {eps!r}. 0.01 is the default.")
        self.eps = eps

    def measure(self, rows: Float[Tensor, "n c"], count: int) -> Value:
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

    def measure(self, rows: Float[Tensor, "n c"], count: int) -> Value:
        """See `spectral.effective_rank`."""
        rank = effective_rank(rows, centre=self.centre, reduce=self._reduces)
        return 1 - rank / self.width, {}
