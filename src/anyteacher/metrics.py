"""Metrics of the tasks, with states that add up.

Every state is a sum, or all that was seen where no sum will do, so a result over a validation set
does not depend on how the set was cut into batches or spread over processes. Each metric returns
all its numbers at once, by name, and raises `DataError` instead of returning a NaN when it has seen
nothing to measure.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import multilabel_average_precision
from torchmetrics.utilities import dim_zero_cat

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


class DepthMetrics(Metric):
    """The nine usual depth metrics: computed for each image, then averaged over the images.

    That is how the evaluation code of Eigen et al. (2014) and its successors on NYUv2 and KITTI
    counts, so an image with few valid pixels weighs as much as one with many. Images without any
    valid pixel are left out. Predictions are clamped to [min_depth, max_depth].

    Args:
        min_depth: smallest depth in metres that is measured.
        max_depth: largest depth in metres that is measured.
    """

    full_state_update = False
    total: Tensor
    images: Tensor

    def __init__(self, *, min_depth: float, max_depth: float) -> None:
        super().__init__()
        self.min_depth, self.max_depth = min_depth, max_depth
        zeros = torch.zeros(len(DEPTH_NAMES), dtype=torch.float64)
        self.add_state("total", zeros, dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(
        self, prediction: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 h w"]
    ) -> None:
        """Adds a batch: both in metres, the target zero or non-finite where unknown."""
        valid = valid_depth(target, self.min_depth, self.max_depth)
        clamped = prediction.clamp(self.min_depth, self.max_depth)
        self.total += depth_errors(clamped, target, valid).sum(0)
        self.images += valid.flatten(1).any(1).sum()

    def compute(self) -> dict[str, Tensor]:
        """The nine numbers by name.

        Raises:
            DataError: when no image had a valid pixel.
        """
        if self.images == 0:
            raise DataError(
                f"No image has a depth from {self.min_depth} to {self.max_depth} m to measure "
                "against. Look at the units of the data, and at min_depth and max_depth."
            )
        return dict(zip(DEPTH_NAMES, self.total / self.images, strict=True))


class SegmentationMetrics(Metric):
    """Mean intersection over union, and pixel accuracy, of one confusion matrix of the whole set.

    `miou` is the mean over the classes that occur in a prediction or in a target.

    Args:
        classes: number of classes.
        ignore: label of the pixels that are not measured.
    """

    full_state_update = False
    confusion: Tensor

    def __init__(self, *, classes: int, ignore: int = 255) -> None:
        super().__init__()
        self.classes, self.ignore = classes, ignore
        zeros = torch.zeros(classes, classes, dtype=torch.int64)
        self.add_state("confusion", zeros, dist_reduce_fx="sum")

    def update(self, prediction: Int[Tensor, "b h w"], target: Int[Tensor, "b h w"]) -> None:
        """Adds a batch of class indices."""
        known = target != self.ignore
        pairs = target[known] * self.classes + prediction[known]
        counts = torch.bincount(pairs, minlength=self.classes**2)
        self.confusion += counts.reshape(self.classes, self.classes)

    def compute(self) -> dict[str, Tensor]:
        """`miou` and `pixel_accuracy`.

        Raises:
            DataError: when no pixel had a label.
        """
        if self.confusion.sum() == 0:
            raise DataError(
                f"No pixel has a label to measure against: all are {self.ignore} (ignored), or "
                "there was no image."
            )
        hits = self.confusion.diagonal().double()
        union = self.confusion.sum(0) + self.confusion.sum(1) - hits
        return {
            "miou": (hits / union)[union > 0].mean(),
            "pixel_accuracy": hits.sum() / self.confusion.sum(),
        }


class ClassificationMetrics(Metric):
    """The share of images whose class is the best (`top1`), or among the best five (`top5`).

    `top5` is only given where there are more than five classes.

    Args:
        classes: number of classes.
    """

    full_state_update = False
    hits: Tensor
    images: Tensor

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        self.ranks = (1, 5) if classes > 5 else (1,)
        zeros = torch.zeros(len(self.ranks), dtype=torch.int64)
        self.add_state("hits", zeros, dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, scores: Float[Tensor, "b classes"], target: Int[Tensor, " b"]) -> None:
        """Adds a batch of scores (logits or probabilities) and labels."""
        best = scores.topk(self.ranks[-1], dim=1).indices == target[:, None]
        self.hits += torch.stack([best[:, :rank].sum() for rank in self.ranks])
        self.images += len(target)

    def compute(self) -> dict[str, Tensor]:
        """`top1`, and `top5` where there are more than five classes.

        Raises:
            DataError: when there was no image.
        """
        if self.images == 0:
            raise DataError("There was no image to measure.")
        shares = self.hits.double() / self.images
        return {f"top{rank}": share for rank, share in zip(self.ranks, shares, strict=True)}


class MultiLabelMetrics(Metric):
    """The mean over classes of the average precision (`map`), exact: from all scores of the set.

    The average precision of a class is the mean, over the images that show it, of the share of
    such images among those that score at least as high. Classes that no image shows have none, and
    are left out.

    Args:
        classes: number of classes.
    """

    full_state_update = False
    scores: list[Tensor]
    targets: list[Tensor]

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, scores: Float[Tensor, "b classes"], target: Int[Tensor, "b classes"]) -> None:
        """Adds a batch of probabilities, and 1 where a class is in the image, else 0."""
        self.scores.append(scores)
        self.targets.append(target)

    def compute(self) -> dict[str, Tensor]:
        """`map`.

        Raises:
            DataError: when no image shows any class.
        """
        seen = len(self.targets) > 0
        target = dim_zero_cat(self.targets) if seen else torch.zeros(0, self.classes)
        shown = target.any(0)
        if not shown.any():
            raise DataError("There is nothing to measure: no image shows any of the classes.")
        scores = dim_zero_cat(self.scores)
        value = multilabel_average_precision(
            scores[:, shown], target[:, shown], num_labels=int(shown.sum()), validate_args=False
        )
        return {"map": value}
