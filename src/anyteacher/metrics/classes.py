"""Metrics of classes: of pixels, and of images with one or several."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import multilabel_average_precision
from torchmetrics.utilities import dim_zero_cat

from anyteacher.errors import DataError


class SegmentationMetrics(Metric):
    """Mean intersection over union, and pixel accuracy, of one confusion matrix of the whole set.

    `miou` is the mean over the classes that occur in a prediction or in a target.

    Args:
        classes: number of classes.
        per_class: whether to give `iou_0`, `iou_1`, … as well, of the classes that occur.
        ignore: label of the pixels that are not measured.
    """

    full_state_update = False
    confusion: Tensor

    def __init__(self, *, classes: int, per_class: bool = False, ignore: int = 255) -> None:
        super().__init__()
        self.classes, self.per_class, self.ignore = classes, per_class, ignore
        zeros = torch.zeros(classes, classes, dtype=torch.int64)
        self.add_state("confusion", zeros, dist_reduce_fx="sum")

    def update(self, prediction: Int[Tensor, "b h w"], target: Int[Tensor, "b h w"]) -> None:
        """Adds a batch of class indices."""
        known = target != self.ignore
        pairs = target[known] * self.classes + prediction[known]
        counts = torch.bincount(pairs, minlength=self.classes**2)
        self.confusion += counts.reshape(self.classes, self.classes)

    def compute(self) -> dict[str, Tensor]:
        """`miou` and `pixel_accuracy`, and those of each class if asked.

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
        shares = {int(k): hits[k] / union[k] for k in union.nonzero()[:, 0]}
        return {
            "miou": torch.stack(list(shares.values())).mean(),
            "pixel_accuracy": hits.sum() / self.confusion.sum(),
            **({f"iou_{k}": share for k, share in shares.items()} if self.per_class else {}),
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
    such images among those that score at least as high. Only the order of the scores matters: of
    logits it is finer than of probabilities, which are rounded to 1. Classes that no image shows
    have none, and are left out.

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
        """Adds a batch of scores (logits, best), and 1 where a class is in the image, else 0."""
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
        scores = _ranks(dim_zero_cat(self.scores)[:, shown])
        value = multilabel_average_precision(
            scores, target[:, shown], num_labels=int(shown.sum()), validate_args=False
        )
        return {"map": value}


def _ranks(scores: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """Where each score stands among those of its class, in [0, 1); equal ones stand alike.

    What lies outside of [0, 1] would be taken for logits, and their sigmoids compared.
    """
    places = [column.unique(return_inverse=True)[1] for column in scores.T]
    return torch.stack(places, dim=1).double() / len(scores)
