"""Image classification with several classes an image."""

import json
from pathlib import Path
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor
from torchmetrics import MetricCollection

from anyteacher import images, pictures
from anyteacher.errors import ConfigError, DataError
from anyteacher.facts import Facts
from anyteacher.metrics import MultiLabelMetrics
from anyteacher.readout import Presences
from anyteacher.tasks.base import Batch, Task


@final
class MultiLabel(Task):
    """Which of several classes an image shows: any number of them, or none.

    Each class is a decision of its own, from one logit.

    Args:
        classes: number of classes.
    """

    target = "presence"
    monitor = "map"
    mode = "max"
    kind = "global"

    def __init__(self, classes: int) -> None:
        super().__init__(out_channels=classes)
        if classes < 1:
            raise ConfigError(f"MultiLabel needs at least 1 class, not {classes}.")
        self.classes = classes

    def check_data(self, facts: Facts) -> None:
        """Refuses data of another target or number of classes."""
        super().check_data(facts)
        self.check_classes(facts, self.classes)

    def prediction(self, output: Tensor, size: tuple[int, int]) -> Float[Tensor, "b classes"]:
        """The probability that each class is there; the size is of no matter."""
        return self.readout()(self.check(output), size)

    def readout(self) -> Presences:
        """The prediction, by torch alone."""
        return Presences()

    def loss(self, output: Tensor, batch: Batch) -> Float[Tensor, ""]:
        """Binary cross-entropy, mean over classes and images."""
        logits = self.check(output)
        return F.binary_cross_entropy_with_logits(logits, self._presence(batch).to(logits.dtype))

    def metrics(self) -> MetricCollection:
        """`map`, the mean average precision."""
        return MetricCollection([MultiLabelMetrics(classes=self.classes)])

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Adds one batch to the metrics."""
        metrics.update(self.finite(output), self._presence(batch).long())

    def draw(
        self, values: Shaped[Tensor, "b classes"], like: Tensor | None = None
    ) -> UInt8[Tensor, "b 3 h w"]:
        """A bar a class, as high as its probability; a full bar for a class that is there."""
        del like  # probabilities have a scale of their own
        return pictures.bars(values.float())

    def save(self, prediction: Float[Tensor, " classes"], stem: Path) -> list[Path]:
        """Writes `<stem>.json` with the probabilities of all classes, and those above one half."""
        shares = prediction.tolist()
        found = {
            "present": [index for index, share in enumerate(shares) if share > 0.5],
            "probabilities": shares,
        }
        path = Path(f"{stem}.json")
        with images.replacing(path) as part:
            part.write_text(json.dumps(found, indent=2) + "\n")
        return [path]

    def _presence(self, batch: Batch) -> Tensor:
        target = self.target_of(batch, "batch", self.classes)
        if not torch.compiler.is_compiling() and not ((target == 0) | (target == 1)).all():
            raise DataError(
                f"'{self.target}' must be 1 where a class is in the image and 0 where it is not, "
                f"but holds numbers from {target.min()} to {target.max()}."
            )
        return target
