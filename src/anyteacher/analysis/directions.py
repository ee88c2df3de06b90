"""Which of the teacher's principal directions a projector uses, and which it drops.

Take the teacher's centred features T (n, d_t), with covariance `T^T T / n = sum_i l_i q_i q_i^T`:
direction q_i holds the share `l_i / sum_j l_j` of the teacher's energy. Let Y be the projected
feature, centred as well. Each direction has a part of Y's energy:

- *inverted*, where Y is made from T: what comes out of direction i, `|q_i^T T^T Y / n|^2 / l_i`.
  For a matrix, Y = T P, that is `l_i |q_i^T P|^2`. The scores `T q_i` are uncorrelated, so the
  parts add up to the whole of Y's energy; for other projectors, to what of Y is linear in T.
- *traditional*, where Y is made from the student to be like T: what lies along direction i,
  `q_i^T Y^T Y q_i / n`. The parts add up to the whole where the directions are a whole basis.

The *use* of a direction is its part of Y's energy for each unit of its own, as a share of that of
the direction where this is largest: 1 where the projector is strongest, 0 where nothing passes.

A projector of low rank may use every principal direction a little. How much it lets through at all
is told by what a linear map can read back from Y: the share of the teacher's energy that is
*recovered* by least squares, `tr(T^T Y (Y^T Y)^+ Y^T T) / tr(T^T T)`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anyteacher.errors import LayoutError
from anyteacher.spectral import Moments

DROPPED = 0.01
"""Use below which a direction counts as dropped: a tenth of the largest amplification."""

# Of the teacher's energy: what holds less is rounding of single precision, or nearly.
_LEAST = 1e-6


@dataclass(frozen=True)
class Directions:
    """The teacher's k principal directions that hold a millionth of its energy or more, in order.

    Attributes:
        teacher: The share of the teacher's energy that each holds, the largest first.
        projected: The share of the projected feature's energy that is each one's part.
        use: How strongly it passes, from 0 to 1 for the one that passes most strongly.
        recovered: The share of the teacher's whole energy that a linear map can read back from the
            projected feature, from 0 to 1.
    """

    teacher: Float[Tensor, " k"]
    projected: Float[Tensor, " k"]
    use: Float[Tensor, " k"]
    recovered: float

    @property
    def dropped(self) -> Bool[Tensor, " k"]:
        """Which of them pass at less than `DROPPED`."""
        return self.use < DROPPED

    @property
    def energy_dropped(self) -> float:
        """The share of the teacher's energy in the directions that are dropped."""
        return float((self.teacher * self.dropped).sum())


@torch.no_grad()
def directions_of(moments: Moments, *, direction: Literal["inverted", "traditional"]) -> Directions:
    """What becomes of the teacher's principal directions; see the module for the definitions.

    All are zero where the teacher's features, or the projected ones, are constant.

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
    values, vectors = torch.linalg.eigh(moments.teacher)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    kept = values > _LEAST * values.sum()
    values, vectors = values[kept], vectors[:, kept]
    if direction == "inverted":
        parts = (vectors.mT @ moments.cross).square().sum(1) / values
    else:
        parts = (moments.student @ vectors * vectors).sum(0).clamp(min=0)
    whole = moments.student.trace()
    passes = parts / values
    strongest = passes.max() if len(passes) else whole
    return Directions(
        teacher=_share(values, moments.teacher.trace()),
        projected=_share(parts, whole),
        use=_share(passes, strongest),
        recovered=_recovered(moments),
    )


def _recovered(moments: Moments) -> float:
    values, vectors = torch.linalg.eigh(moments.student)
    there = values > _LEAST * values[-1]
    read = (moments.cross @ vectors[:, there]).square().sum(0) / values[there]
    return float(_share(read.sum(), moments.teacher.trace()))


def _share(parts: Tensor, whole: Tensor) -> Tensor:
    return parts / whole if float(whole) > 0 else torch.zeros_like(parts)
