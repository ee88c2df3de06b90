"""Edges: where depth, direction or kind of what is seen jumps."""

from pathlib import Path
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor
from torchmetrics import MetricCollection

from anyteacher import images, pictures
from anyteacher.errors import DataError
from anyteacher.metrics import EdgeMetrics
from anyteacher.readout import EdgeProbability, resize
from anyteacher.tasks.base import Batch, Task
from anyteacher.tasks.targets import size_of, valid_mean


def balanced(logits: Float[Tensor, "b 1 h w"], edges: Bool[Tensor, "b 1 h w"]) -> Float[Tensor, ""]:
    """Binary cross-entropy with as much weight on edges as beside them, mean over images.

    The mean over the pixels on edges and the mean over all others are averaged; an image that has
    one kind only gives that kind's mean. It is the loss of Xie and Tu ("Holistically-nested edge
    detection", ICCV 2015) divided by a number of each image, 2 n (1 - n) with n the share of its
    pixels on edges: without that, an image with few edges hardly counts.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, edges.to(logits.dtype), reduction="none")
    kinds = edges.flatten(1).any(1).to(logits.dtype) + (~edges).flatten(1).any(1)
    return ((valid_mean(entropy, edges) + valid_mean(entropy, ~edges)) / kinds).mean()


@final
class Edges(Task):
    """Whether each pixel lies on an edge, from an output of one logit, resized to the target."""

    target = "edges"
    monitor = "f_measure"
    mode = "max"
    kind = "dense"

    def __init__(self) -> None:
        super().__init__(out_channels=1)

    def prediction(self, output: Tensor, size: tuple[int, int]) -> Float[Tensor, "b 1 h w"]:
        """The probability of an edge, as if there were as many pixels on edges as beside them."""
        return self.readout()(self.check(output), size)

    def readout(self) -> EdgeProbability:
        """The prediction, by torch alone."""
        return EdgeProbability()

    def loss(self, output: Tensor, batch: Batch) -> Float[Tensor, ""]:
        """The balanced cross-entropy."""
        edges = self._edges(batch)
        logits = resize(self.check(output), size_of(edges))
        return balanced(logits, edges)

    def metrics(self) -> MetricCollection:
        """`f_measure` and `average_precision`, of `EdgeMetrics`."""
        return MetricCollection([EdgeMetrics()])

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Adds one batch to the metrics."""
        edges = self._edges(batch)
        metrics.update(self.prediction(self.finite(output), size_of(edges)), edges)

    def draw(
        self, values: Shaped[Tensor, "b 1 h w"], like: Tensor | None = None
    ) -> UInt8[Tensor, "b 3 h w"]:
        """Dark lines on white, the darker the surer."""
        del like  # probabilities have a scale of their own
        return pictures.image(1 - values.float())

    def save(self, prediction: Float[Tensor, "1 h w"], stem: Path) -> list[Path]:
        """Writes `<stem>_edges.png`: 255 (1 - probability), so sure edges are black."""
        return [images.write_image(self.draw(prediction[None])[0], Path(f"{stem}_edges.png"))]

    def _edges(self, batch: Batch) -> Bool[Tensor, "b 1 h w"]:
        target = self.target_of(batch, "batch", 1, "height", "width")
        if not torch.compiler.is_compiling() and not ((target == 0) | (target == 1)).all():
            raise DataError(
                f"'{self.target}' must be 1 on an edge and 0 elsewhere, but holds numbers from "
                f"{target.min()} to {target.max()}."
            )
        return target == 1
