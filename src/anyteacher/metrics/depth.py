"""The usual metrics of depth."""

from fractions import Fraction
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric

from anyteacher.errors import DataError

DEPTH_NAMES = (
    "abs_rel",
    "sq_rel",
    "rmse",
    "rmse_log",
    "log10",
    "silog",
    "delta1",
    "delta2",
    "delta3",
)

Protocol: TypeAlias = Literal["", "nyu", "kitti"]

# A fraction where the ends are whole rows at one size, and at others must not fall short of one.
Share: TypeAlias = float | Fraction


class Rules(NamedTuple):
    """How the depth of a data set is measured, by agreement.

    Attributes:
        min_depth: smallest depth in metres that is measured.
        max_depth: largest one.
        rows: where the part that is measured begins and ends, as shares of the height; rounded down
            to whole rows, as evaluation code does.
        columns: likewise of the width.
    """

    min_depth: float
    max_depth: float
    rows: tuple[Share, Share] = (0.0, 1.0)
    columns: tuple[Share, Share] = (0.0, 1.0)

    def part(self, height: int, width: int) -> tuple[slice, slice]:
        """The rows and columns of a picture that are measured.

        >>> RULES["nyu"].part(480, 640)
        (slice(45, 471, None), slice(41, 601, None))
        """
        (top, bottom), (left, right) = self.rows, self.columns
        return (
            slice(int(top * height), int(bottom * height)),
            slice(int(left * width), int(right * width)),
        )


RULES: dict[Protocol, Rules] = {
    "nyu": Rules(
        1e-3,
        10.0,
        (Fraction(45, 480), Fraction(471, 480)),
        (Fraction(41, 640), Fraction(601, 640)),
    ),
    "kitti": Rules(1e-3, 80.0, (0.40810811, 0.99189189), (0.03594771, 0.96405229)),
}
"""NYUv2 with the crop of Eigen, Puhrsch and Fergus (NeurIPS 2014), KITTI with that of Garg, Kumar,
Carneiro and Reid (ECCV 2016): as shares of the picture, so at any size of it."""


def valid_depth(
    depth: Float[Tensor, "*any"], min_depth: float, max_depth: float
) -> Bool[Tensor, "*any"]:
    """Where a depth is known: finite, positive and from `min_depth` to `max_depth` metres."""
    return depth.isfinite() & (depth > 0) & (depth >= min_depth) & (depth <= max_depth)


def depth_errors(
    prediction: Float[Tensor, "b ..."],
    target: Float[Tensor, "b ..."],
    valid: Bool[Tensor, "b ..."],
) -> Float[Tensor, "b nine"]:
    """The nine usual numbers of each image, over its valid pixels, in float64.

    With prediction p and target g in metres and d = log p - log g, the columns (`DEPTH_NAMES`)
    are mean |p - g| / g; mean (p - g)^2 / g; sqrt(mean (p - g)^2); sqrt(mean d^2);
    mean |log10 p - log10 g|; 100 times the standard deviation of d (SILog as KITTI's benchmark
    gives it); and the shares of pixels with max(p/g, g/p) below 1.25, 1.25^2 and 1.25^3 (Eigen et
    al., NeurIPS 2014). An image without valid pixels gets zeros.
    """
    p = torch.where(valid, prediction, 1.0).double().flatten(1)
    g = torch.where(valid, target, 1.0).double().flatten(1)
    valid = valid.flatten(1)
    count = valid.sum(1).clamp(min=1)

    def mean(values: Tensor) -> Tensor:
        return torch.where(valid, values, 0.0).sum(1) / count

    error, d = p - g, p.log() - g.log()
    ratio = torch.maximum(p / g, g / p)
    columns = [
        mean(error.abs() / g),
        mean(error**2 / g),
        mean(error**2).sqrt(),
        mean(d**2).sqrt(),
        mean((p.log10() - g.log10()).abs()),
        100 * mean((d - mean(d)[:, None]) ** 2).sqrt(),
        *(mean((ratio < 1.25**power).double()) for power in (1, 2, 3)),
    ]
    return torch.stack(columns, dim=1)


def _measured(
    rules: Rules, target: Float[Tensor, "b 1 h w"], extent: Int[Tensor, "b 4"] | None
) -> Bool[Tensor, "b 1 h w"]:
    """Which pixels belong to the part of the whole picture that is measured."""
    if extent is None:
        extent = torch.tensor([[0, 0, *target.shape[-2:]]] * len(target))
    measured = torch.zeros_like(target, dtype=torch.bool)
    for inside, whole in zip(measured, extent.tolist(), strict=True):
        top, left, height, width = whole
        rows, columns = rules.part(height, width)
        # What begins before the picture that is given would count from its end.
        ends = [max(0, top + end) for end in (rows.start, rows.stop)]
        sides = [max(0, left + end) for end in (columns.start, columns.stop)]
        inside[:, slice(*ends), slice(*sides)] = True
    return measured


class DepthMetrics(Metric):
    """The nine usual depth metrics: computed for each image, then averaged over the images.

    That is how the evaluation code of Eigen et al. (2014) and its successors on NYUv2 and KITTI
    counts, so an image with few valid pixels weighs as much as one with many. Images without any
    valid pixel are left out. Predictions are clamped to the range of depths that is measured.

    Args:
        rules: the range, and the part of the pictures.
    """

    full_state_update = False
    total: Tensor
    images: Tensor

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self.rules = rules
        zeros = torch.zeros(len(DEPTH_NAMES), dtype=torch.float64)
        self.add_state("total", zeros, dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(
        self,
        prediction: Float[Tensor, "b 1 h w"],
        target: Float[Tensor, "b 1 h w"],
        extent: Int[Tensor, "b 4"] | None = None,
    ) -> None:
        """Adds a batch.

        Args:
            prediction: Metres.
            target: Metres, zero or non-finite where unknown.
            extent: Where the whole picture of each lies in what is given of it: top, left, height
                and width in pixels, as of `data.Source`; None where nothing is cut off.
        """
        valid = valid_depth(target, self.rules.min_depth, self.rules.max_depth)
        valid &= _measured(self.rules, target, extent)
        clamped = prediction.clamp(self.rules.min_depth, self.rules.max_depth)
        self.total += depth_errors(clamped, target, valid).sum(0)
        self.images += valid.flatten(1).any(1).sum()

    def compute(self) -> dict[str, Tensor]:
        """The nine numbers by name.

        Raises:
            DataError: when no image had a valid pixel.
        """
        if self.images == 0:
            raise DataError(
                f"No image has a depth from {self.rules.min_depth:g} to {self.rules.max_depth:g} m "
                "to measure against. Look at the units of the data, and at min_depth and max_depth."
            )
        return dict(zip(DEPTH_NAMES, self.total / self.images, strict=True))
