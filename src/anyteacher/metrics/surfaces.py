"""Metrics of surfaces: of the direction that they face, and of their edges."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric

from anyteacher.errors import DataError

# Of the histograms from which medians and thresholds are read.
_STEPS_A_DEGREE, _DEGREES = 100, 180
_THRESHOLDS = 1000

WITHIN = (11.25, 22.5, 30.0)
"""Degrees below which the share of pixels is given (Fouhey, Gupta and Hebert, ICCV 2013)."""


def angles(
    prediction: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, "b h w"]:
    """Degrees between two unit vectors, in float64; exact for small angles, too (Kahan, 2006)."""
    p, g = prediction.double(), target.double()
    return 2 * torch.rad2deg(torch.atan2((p - g).norm(dim=1), (p + g).norm(dim=1)))


class NormalMetrics(Metric):
    """How far normals are off, over all known pixels of a set together.

    `mean_angle` and `median_angle` in degrees (the median to a hundredth of one), and the shares
    of pixels that are off by less than 11.25, 22.5 and 30 degrees: `within_11`, `within_22`,
    `within_30`.
    """

    full_state_update = False
    total: Tensor
    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        bins = torch.zeros(_DEGREES * _STEPS_A_DEGREE, dtype=torch.int64)
        self.add_state("counts", bins, dist_reduce_fx="sum")

    def update(
        self,
        prediction: Float[Tensor, "b 3 h w"],
        target: Float[Tensor, "b 3 h w"],
        known: Bool[Tensor, "b h w"],
    ) -> None:
        """Adds a batch of unit vectors, and where the target is one."""
        off = angles(prediction, target)[known]
        self.total += off.sum()
        bins = (off * _STEPS_A_DEGREE).long().clamp(max=len(self.counts) - 1)
        self.counts += torch.bincount(bins, minlength=len(self.counts))

    def compute(self) -> dict[str, Tensor]:
        """The five numbers by name.

        Raises:
            DataError: when no pixel had a normal.
        """
        count = self.counts.sum()
        if count == 0:
            raise DataError("There is no normal to measure against: all are zero, or no image was.")
        below = self.counts.cumsum(0).double() / count
        middle = torch.searchsorted(below, torch.tensor(0.5, dtype=below.dtype).to(below.device))
        found = {
            "mean_angle": self.total / count,
            "median_angle": middle.double() / _STEPS_A_DEGREE,
        }
        for degrees in WITHIN:
            found[f"within_{int(degrees)}"] = below[round(degrees * _STEPS_A_DEGREE) - 1]
        return found


class EdgeMetrics(Metric):
    """How well the probability of an edge tells the pixels on edges from the others.

    `f_measure` is the largest harmonic mean of precision and recall that any one threshold for the
    whole set reaches, `average_precision` the area under the curve of both. Pixel by pixel: the
    predictions are not thinned, and a line beside its place is wrong, unlike in the benchmark of
    BSDS, whose edges were drawn by hand. Thresholds are a thousandth apart.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        bins = torch.zeros(2, _THRESHOLDS, dtype=torch.int64)
        self.add_state("counts", bins, dist_reduce_fx="sum")

    def update(self, prediction: Float[Tensor, "b 1 h w"], target: Bool[Tensor, "b 1 h w"]) -> None:
        """Adds a batch of probabilities, and where the edges are."""
        bins = (prediction * _THRESHOLDS).long().clamp(max=_THRESHOLDS - 1)
        pairs = (bins + _THRESHOLDS * target.long()).flatten()
        self.counts += torch.bincount(pairs, minlength=2 * _THRESHOLDS).reshape(2, _THRESHOLDS)

    def compute(self) -> dict[str, Tensor]:
        """`f_measure` and `average_precision`.

        Raises:
            DataError: when no pixel was on an edge.
        """
        edges = self.counts[1].sum()
        if edges == 0:
            raise DataError("There is no edge to measure against in any of the images.")
        # From the highest threshold down, what is above it: not on edges, and on edges.
        wrong, hits = self.counts.flip(1).cumsum(1).double()
        precision, recall = hits / (hits + wrong).clamp(min=1), hits / edges
        f = 2 * hits / (hits + wrong + edges)
        steps = recall.diff(prepend=recall.new_zeros(1))
        return {"f_measure": f.max(), "average_precision": (steps * precision).sum()}
