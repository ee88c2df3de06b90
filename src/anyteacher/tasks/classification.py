"""Image classification: one class an image."""

import json
import math
from pathlib import Path
from typing import final

import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torchmetrics import MetricCollection

from anyteacher import images, pictures
from anyteacher.errors import ConfigError
from anyteacher.facts import Facts
from anyteacher.metrics import ClassificationMetrics
from anyteacher.readout import Classes
from anyteacher.tasks.base import Batch, Task
from anyteacher.tasks.mixing import mixed
from anyteacher.tasks.targets import check_labels


@final
class Classification(Task):
    """One class for each image, from a vector of logits.

    Args:
        classes: number of classes.
        label_smoothing: share of the target that is spread evenly over all classes (Szegedy et
            al., CVPR 2016).
        mixup: training images are mixed with others, and their classes in the same shares, which
            are drawn from Beta(mixup, mixup); such as 0.2, and 0 for none.
        cutmix: likewise, with a box of the other image in place of its shade; such as 1. With
            both, each batch gets one of them.

    What is mixed is of no one class and has no place in the data set, so losses of links that need
    either are refused.
    """

    target = "label"
    monitor = "top1"
    mode = "max"
    kind = "global"

    def __init__(
        self,
        classes: int,
        *,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
    ) -> None:
        super().__init__(out_channels=classes)
        if classes < 2:
            raise ConfigError(f"Classification needs at least 2 classes, not {classes}.")
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"label_smoothing must lie in [0, 1), not {label_smoothing}.")
        if not (0 <= mixup < math.inf and 0 <= cutmix < math.inf):
            raise ConfigError(f"mixup and cutmix must be 0 or more, but are {mixup} and {cutmix}.")
        self.classes, self.label_smoothing = classes, label_smoothing
        self.mixing = (mixup, cutmix)

    def check_data(self, facts: Facts) -> None:
        """Refuses data of another target or number of classes."""
        super().check_data(facts)
        self.check_classes(facts, self.classes)

    def prediction(self, output: Tensor, size: tuple[int, int]) -> Float[Tensor, "b classes"]:
        """The probability of each class; the size is of no matter."""
        return self.readout()(self.check(output), size)

    def readout(self) -> Classes:
        """The prediction, by torch alone."""
        return Classes()

    def varied(self, batch: Batch, margin: int = 0) -> Batch:
        """Images that are mixed, if asked, and in `label` the share of each class in their middle.

        That is without the margin.
        """
        if not any(self.mixing):
            return batch
        labels = self._labels(batch)
        images, shares = mixed(batch["image"], labels, self.classes, self.mixing, margin)
        return {"image": images, self.target: shares}

    def loss(self, output: Tensor, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy, mean over images; `label` may hold the share of each class as well."""
        logits, target = self.check(output), self.target_of(batch)
        if target.is_floating_point() and target.shape == logits.shape:
            target = target.to(logits.dtype)
        else:
            target = self._labels(batch)
        return F.cross_entropy(logits, target, label_smoothing=self.label_smoothing)

    def metrics(self) -> MetricCollection:
        """`top1`, and `top5` where there are more than five classes."""
        return MetricCollection([ClassificationMetrics(classes=self.classes)])

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Adds one batch to the metrics."""
        metrics.update(self.finite(output), self._labels(batch))

    def draw(
        self, values: Float[Tensor, "b classes"] | Int[Tensor, " b"], like: Tensor | None = None
    ) -> UInt8[Tensor, "b 3 h w"]:
        """A bar a class, as high as its probability; a label is a full bar."""
        del like  # probabilities have a scale of their own
        shares = values if values.ndim == 2 else F.one_hot(values.long(), self.classes).float()
        return pictures.bars(shares)

    def save(self, prediction: Float[Tensor, " classes"], stem: Path) -> list[Path]:
        """Writes `<stem>.json` with the five best classes and their probabilities."""
        best = prediction.topk(min(5, self.classes))
        top = [
            {"class": index, "probability": share}
            for share, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        path = Path(f"{stem}.json")
        with images.replacing(path) as part:
            part.write_text(json.dumps({"top": top}, indent=2) + "\n")
        return [path]

    def _labels(self, batch: Batch) -> Tensor:
        target = self.target_of(batch, "batch")
        check_labels(target, self.classes)
        return target.long()
