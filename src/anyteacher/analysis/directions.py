"""Which of the teacher's principal directions pass a projector, and which are dropped.

Take the teacher's centred features T (n, d_t), with covariance `T^T T / n = sum_i l_i q_i q_i^T`:
direction q_i holds the share `l_i / sum_j l_j` of the teacher's energy. Let Y be the projected
feature, centred as well. What is *kept* of a direction is the share of the variance of its scores
`T q_i` that Y accounts for:

- *inverted*, where Y is made from T: what a linear map can read back from Y by least squares,
  `q_i^T T^T Y (Y^T Y)^+ Y^T T q_i / (n l_i)`. All directions together keep at most rank(Y).
- *traditional*, where Y is made from the student to be like T: what Y reproduces as it stands,
  `1 - |(T - Y) q_i|^2 / (n l_i)`, and 0 where that is negative.

Its mean, weighed by the energies l_i, is the share of the teacher's energy that is *recovered*. A
direction is *dropped* where less than half of it is kept. So both agree: the directions that are
dropped hold at most twice the energy that is not recovered, and the others at most twice the
energy that is.

How strongly a direction passes is another question, since reading back undoes any gain. Each has a
part of Y's energy: inverted, what comes out of it, `|q_i^T T^T Y / n|^2 / l_i`, which for a matrix
is `l_i |q_i^T P|^2`; traditional, what lies along it, `q_i^T Y^T Y q_i / n`. With a matrix the
parts of an inverted link add up to the whole of Y's energy, because the scores are uncorrelated;
with another projector, to what of Y is linear in T. Those of a traditional link do where the
directions are a whole basis. The *gain* of a direction is the share of Y's energy that is its part,
for each share of the teacher's that it holds: relative to the energy-weighted mean of all gains.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anyteacher.errors import LayoutError
from anyteacher.spectral import Moments
from anyteacher.spectral.gram import eigh

DROPPED = 0.5
"""A direction counts as dropped where a smaller share of it than this is kept."""

FAINT = 0.01
"""A direction that is kept counts as faint below this gain: a tenth of the mean amplitude."""

# Of the energy: what holds less is rounding of single precision, 1e-7 of the amplitude, or nearly.
_LEAST = 1e-12


@dataclass(frozen=True)
class Directions:
    """The teacher's k principal directions that are more than rounding, in order.

    Attributes:
        teacher: The share of the teacher's energy that each holds, the largest first.
        projected: The share of the projected feature's energy that is each one's part.
        kept: The share of each that the projected feature keeps, from 0 to 1.
    """

    teacher: Float[Tensor, " k"]
    projected: Float[Tensor, " k"]
    kept: Float[Tensor, " k"]

    @property
    def gain(self) -> Float[Tensor, " k"]:
        """How strongly each passes; 1 is as strongly as the teacher's feature as a whole."""
        return self.projected / self.teacher

    @property
    def dropped(self) -> Bool[Tensor, " k"]:
        """Of which of them less than `DROPPED` is kept."""
        return self.kept < DROPPED

    @property
    def faint(self) -> Bool[Tensor, " k"]:
        """Which are kept, and pass with less than the gain `FAINT`."""
        return ~self.dropped & (self.gain < FAINT)

    @property
    def energy_dropped(self) -> float:
        """The share of the teacher's energy in the directions that are dropped."""
        return float((self.teacher * self.dropped).sum())

    @property
    def recovered(self) -> float:
        """The share of the teacher's energy that is kept, over all directions."""
        return float(_share((self.teacher * self.kept).sum(), self.teacher.sum()))


@torch.no_grad()
def directions_of(moments: Moments, *, direction: Literal["inverted", "traditional"]) -> Directions:
    """What becomes of the teacher's principal directions; see the module for the definitions.

    There are none where the teacher's features are constant, and none is kept where the projected
    ones are.

    Args:
        moments: Of the projected feature (as `student`) and the teacher's, before it is projected.
        direction: Which side was projected.

    Raises:
        LayoutError: when a traditional link's projected feature is not as wide as the teacher's.
    """
    wide, width = len(moments.teacher_mean), len(moments.student_mean)
    if direction == "traditional" and wide != width:
        raise LayoutError(
            f"A student projected to {width} channels cannot lie along the directions of a teacher "
            f"of {wide}. Give the features of one traditional link."
        )
    values, vectors = eigh(moments.teacher)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    there = values > _LEAST * values.sum()
    values, vectors = values[there], vectors[:, there]
    across = vectors.mT @ moments.cross
    if direction == "inverted":
        parts = across.square().sum(1) / values
        kept = _readable(across, moments.student)
    else:
        parts = (moments.student @ vectors * vectors).sum(0).clamp(min=0)
        kept = 2 * (across * vectors.mT).sum(1) - parts  # n l_i less the squared error along it
    return Directions(
        teacher=_share(values, moments.teacher.trace()),
        projected=_share(parts, moments.student.trace()),
        kept=(kept / values).clamp(0, 1),
    )


def _readable(across: Float[Tensor, "k s"], products: Float[Tensor, "s s"]) -> Float[Tensor, " k"]:
    """What least squares from Y explain of scores, from `Q^T T^T Y` and `Y^T Y`."""
    values, vectors = eigh(products)
    there = values > _LEAST * values[-1]
    read: Tensor = ((across @ vectors[:, there]).square() / values[there]).sum(1)
    return read


def _share(parts: Tensor, whole: Tensor) -> Tensor:
    return parts / whole if float(whole) > 0 else torch.zeros_like(parts)
