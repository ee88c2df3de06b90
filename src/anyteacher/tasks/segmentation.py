"""Semantic segmentation: one class a pixel."""

import math
from pathlib import Path
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torchmetrics import MetricCollection

from anyteacher import images, pictures
from anyteacher.errors import ConfigError
from anyteacher.facts import IGNORE, Facts
from anyteacher.metrics import SegmentationMetrics
from anyteacher.readout import PixelClasses, resize
from anyteacher.tasks.base import Batch, Task
from anyteacher.tasks.targets import check_labels, size_of, valid_mean


def dice(logits: Float[Tensor, "b classes h w"], target: Int[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """One minus the Dice coefficient of probabilities, mean over classes, then over images.

    Of the classes that an image shows, and over its labelled pixels: 1 - 2 sum(p g) / (sum(p^2) +
    sum(g^2)), with p the probability of the class and g 1 where it is and 0 elsewhere (Milletari,
    Navab and Ahmadi, "V-Net", 3DV 2016). An image without a labelled pixel adds zero.
    """
    known = target != IGNORE
    truth = F.one_hot(torch.where(known, target, 0), logits.shape[1]).movedim(-1, 1)
    truth = truth.to(logits.dtype) * known[:, None]
    shares = logits.softmax(1) * known[:, None]
    common, all_of_them = (shares * truth).sum((2, 3)), (shares**2 + truth).sum((2, 3))
    shown = truth.flatten(2).any(2)
    return valid_mean(1 - 2 * common / torch.where(shown, all_of_them, 1.0), shown).mean()


@final
class Segmentation(Task):
    """A class for every pixel, from logits with one channel a class.

    The logits are resized to the target. The loss is the cross-entropy, averaged over the labelled
    pixels of each image and then over the images; pixels labelled 255 are ignored, and an image
    without a labelled pixel adds zero.

    Args:
        classes: number of classes, at most 255 (255 itself marks ignored pixels).
        dice: weight of the Dice loss, which counts small classes as much as large ones; 0 for none.
        per_class: whether to measure the intersection over union of each class as well.
    """

    target = "segmentation"
    monitor = "miou"
    mode = "max"
    kind = "dense"

    def __init__(self, classes: int, *, dice: float = 0.0, per_class: bool = False) -> None:
        super().__init__(out_channels=classes)
        if not 2 <= classes <= IGNORE:
            raise ConfigError(f"Segmentation needs 2 to {IGNORE} classes, not {classes}.")
        if not 0 <= dice < math.inf:
            raise ConfigError(f"The weight of the Dice loss must be 0 or more, not {dice}.")
        self.classes, self.dice, self.per_class = classes, dice, per_class

    def check_data(self, facts: Facts) -> None:
        """Refuses data of another target or number of classes."""
        super().check_data(facts)
        self.check_classes(facts, self.classes)

    def prediction(self, output: Tensor, size: tuple[int, int]) -> Int[Tensor, "b h w"]:
        """The index of the best class of each pixel."""
        return resize(self.check(output), size).argmax(1)

    def readout(self) -> PixelClasses:
        """The probabilities of the classes, by torch alone."""
        return PixelClasses()

    def loss(self, output: Tensor, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy over the labelled pixels, and the Dice loss if asked."""
        target = self._labels(batch)
        logits = resize(self.check(output), size_of(target))
        entropy = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")
        loss = valid_mean(entropy, target != IGNORE).mean()
        return loss + self.dice * dice(logits, target) if self.dice else loss

    def metrics(self) -> MetricCollection:
        """`miou` and `pixel_accuracy`, of `SegmentationMetrics`."""
        return MetricCollection(
            [SegmentationMetrics(classes=self.classes, per_class=self.per_class, ignore=IGNORE)]
        )

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Adds one batch to the metrics."""
        target = self._labels(batch)
        metrics.update(self.prediction(self.finite(output), size_of(target)), target)

    def draw(
        self, values: Int[Tensor, "b h w"], like: Tensor | None = None
    ) -> UInt8[Tensor, "b 3 h w"]:
        """One colour a class (`pictures.palette`); ignored pixels are black."""
        del like  # colours of classes have no scale
        return pictures.classes(values)

    def save(self, prediction: Int[Tensor, "h w"], stem: Path) -> list[Path]:
        """Writes `<stem>_classes.png` (labels as values) and `<stem>_classes_color.png`."""
        labels = images.write_labels(prediction, Path(f"{stem}_classes.png"))
        colors = self.draw(prediction[None])[0]
        return [labels, images.write_image(colors, Path(f"{stem}_classes_color.png"))]

    def _labels(self, batch: Batch) -> Tensor:
        target = self.target_of(batch, "batch", "height", "width")
        check_labels(target, self.classes, ignore=IGNORE)
        return target.long()
