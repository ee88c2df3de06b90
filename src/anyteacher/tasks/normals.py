"""Surface normals: the direction that each pixel's surface faces."""

from pathlib import Path
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torchmetrics import MetricCollection

from anyteacher import images, pictures
from anyteacher.metrics import NormalMetrics
from anyteacher.readout import Directions
from anyteacher.tasks.base import Batch, Task
from anyteacher.tasks.targets import size_of, valid_mean


@final
class Normals(Task):
    """Unit vectors in the camera's frame (x right, y down, z forward), from three channels.

    The output is resized to the target and brought to unit length. The loss is 1 - cos of the angle
    to the target, averaged over the known pixels of each image and then over the images. Pixels
    whose target is zero or not finite are unknown; an image without a known one adds zero.
    """

    target = "normals"
    monitor = "mean_angle"
    mode = "min"
    kind = "dense"

    def __init__(self) -> None:
        super().__init__(out_channels=3)

    def prediction(self, output: Tensor, size: tuple[int, int]) -> Float[Tensor, "b 3 h w"]:
        """Unit vectors."""
        return self.readout()(self.check(output), size)

    def readout(self) -> Directions:
        """The prediction, by torch alone."""
        return Directions()

    def loss(self, output: Tensor, batch: Batch) -> Float[Tensor, ""]:
        """One minus the cosine."""
        target, known = self._normals(batch)
        vectors = self.prediction(output, size_of(target))
        # Half the squared distance of unit vectors is 1 - cos, and exact where that is small.
        return valid_mean((vectors - target).square().sum(1) / 2, known).mean()

    def metrics(self) -> MetricCollection:
        """The angles and shares of `NormalMetrics`."""
        return MetricCollection([NormalMetrics()])

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Adds one batch to the metrics."""
        target, known = self._normals(batch)
        metrics.update(self.prediction(self.finite(output), size_of(target)), target, known)

    def draw(
        self, values: Float[Tensor, "b 3 h w"], like: Tensor | None = None
    ) -> UInt8[Tensor, "b 3 h w"]:
        """Red is right, green is up, blue is towards the camera, unknown is grey."""
        del like  # directions have a scale of their own
        return pictures.normals(values.nan_to_num(0.0, 0.0, 0.0))

    def save(self, prediction: Float[Tensor, "3 h w"], stem: Path) -> list[Path]:
        """Writes `<stem>_normals.png`, of 8 bits: (x, -y, -z) = 2 (red, green, blue) / 255 - 1."""
        return [images.write_image(self.draw(prediction[None])[0], Path(f"{stem}_normals.png"))]

    def _normals(self, batch: Batch) -> tuple[Float[Tensor, "b 3 h w"], Bool[Tensor, "b h w"]]:
        """The targets at unit length, and where they are known."""
        target = self.target_of(batch, "batch", 3, "height", "width")
        target = target.to(torch.promote_types(target.dtype, torch.float32))
        known = target.isfinite().all(1) & (target != 0).any(1)
        return F.normalize(torch.where(known[:, None], target, 0.0)), known
