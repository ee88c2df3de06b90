"""Metric depth from one image."""

import math
from pathlib import Path
from typing import Literal, final

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torchmetrics import MetricCollection

from anyteacher import images, pictures
from anyteacher.errors import ConfigError, did_you_mean
from anyteacher.facts import Facts
from anyteacher.metrics import RULES, DepthMetrics, Protocol, Rules, valid_depth
from anyteacher.readout import Metres, resize
from anyteacher.tasks.base import Batch, Task
from anyteacher.tasks.targets import size_of, valid_mean


def log_l1(
    log_prediction: Float[Tensor, "b 1 h w"],
    log_target: Float[Tensor, "b 1 h w"],
    valid: Bool[Tensor, "b 1 h w"],
) -> Float[Tensor, ""]:
    """Mean absolute difference over the valid pixels of an image, then over the images."""
    return valid_mean((log_prediction - log_target).abs(), valid).mean()


def scale_invariant(
    log_prediction: Float[Tensor, "b 1 h w"],
    log_target: Float[Tensor, "b 1 h w"],
    valid: Bool[Tensor, "b 1 h w"],
    *,
    invariance: float = 0.5,
) -> Float[Tensor, ""]:
    """The scale-invariant error in log space (Eigen et al., NeurIPS 2014), mean over images.

    With d the differences of log-depths over the valid pixels of an image, mean(d^2) -
    invariance * mean(d)^2. At `invariance` 1 a common factor on all depths of an image costs
    nothing; at 0 this is the plain squared error.
    """
    d = log_prediction - log_target
    return (valid_mean(d**2, valid) - invariance * valid_mean(d, valid) ** 2).mean()


@final
class Depth(Task):
    """Depth in metres, from an output of one channel.

    The output is log-depth (`log`, the default: any real number is a depth) or depth in metres
    (`depth`, for models that end in their own activation). It is resized to the target as it is,
    so log-depth is interpolated in log space. Only pixels whose depth is known and lies within
    [min_depth, max_depth] count. An image without such pixels adds zero to the loss (which stays
    connected to the student), and the metrics leave it out.

    Args:
        output_is: what the student's output means.
        log_l1: weight of the mean absolute error of log-depth.
        scale_invariant: weight of the scale-invariant error of Eigen et al.
        min_depth: smallest depth, in metres, that is learned, predicted and measured; a protocol
            that begins nearer predicts and measures from there on.
        max_depth: largest one. Farther pixels are ignored, so set it to what the data holds.
        protocol: what the metrics count: all depths that are learned, by default; `nyu`: those to
            10 m in the crop of Eigen et al., for NYUv2; `kitti`: those to 80 m in the crop of Garg
            et al. Both from a millimetre on.
    """

    target = "depth"
    monitor = "abs_rel"
    mode = "min"
    kind = "dense"

    def __init__(
        self,
        *,
        output_is: Literal["log", "depth"] = "log",
        log_l1: float = 1.0,
        scale_invariant: float = 1.0,
        min_depth: float = 0.1,
        max_depth: float = 20.0,
        protocol: Protocol = "",
    ) -> None:
        super().__init__(out_channels=1)
        if output_is not in {"log", "depth"}:
            raise ConfigError(f"output_is must be 'log' or 'depth', not {output_is!r}.")
        if min(log_l1, scale_invariant) < 0 or not 0 < log_l1 + scale_invariant < math.inf:
            raise ConfigError(
                "The weights log_l1 and scale_invariant must not be negative or infinite, and "
                f"one must be positive, but they are {log_l1} and {scale_invariant}."
            )
        self.output_is = output_is
        self.log_l1, self.scale_invariant = log_l1, scale_invariant
        if protocol and protocol not in RULES:
            raise ConfigError(f"No protocol '{protocol}'. {did_you_mean(protocol, RULES)}")
        if not 0 < min_depth < max_depth < math.inf:
            raise ConfigError(
                "Depths must satisfy 0 < min_depth < max_depth (metres), but min_depth is "
                f"{min_depth} and max_depth is {max_depth}."
            )
        self.min_depth, self.max_depth = min_depth, max_depth
        self.rules = RULES.get(protocol, Rules(min_depth, max_depth))
        if self.rules.max_depth > max_depth:
            raise ConfigError(
                f"The protocol '{protocol}' measures depths to {self.rules.max_depth:g} m, and "
                f"those of the task go to {max_depth:g} m. Set max_depth to "
                f"{self.rules.max_depth:g} or more."
            )

    def check_data(self, facts: Facts) -> None:
        """Refuses data of another target or largest depth: the metrics would not be its own."""
        super().check_data(facts)
        if facts.max_depth is not None and facts.max_depth != self.max_depth:
            raise ConfigError(
                f"Depth goes to max_depth {self.max_depth:g} m, and that of the data to "
                f"{facts.max_depth:g} m. Set both to the same."
            )

    def prediction(self, output: Tensor, size: tuple[int, int]) -> Float[Tensor, "b 1 h w"]:
        """Depth in metres, clamped to what is predicted."""
        return self.readout()(self.check(output), size)

    def readout(self) -> Metres:
        """The prediction, by torch alone."""
        nearest = min(self.min_depth, self.rules.min_depth)
        return Metres(self.output_is, nearest, self.max_depth)

    def loss(self, output: Tensor, batch: Batch) -> Float[Tensor, ""]:
        """The weighted sum of the two losses in log-depth."""
        target = self._depth(batch)
        maps = resize(self.check(output), size_of(target))
        valid = valid_depth(target, self.min_depth, self.max_depth)
        log_target = torch.where(valid, target, 1.0).log()
        log_depth = maps if self.output_is == "log" else _log(maps, self.min_depth)
        loss = torch.zeros((), device=maps.device, dtype=maps.dtype)
        if self.log_l1:
            loss = loss + self.log_l1 * log_l1(log_depth, log_target, valid)
        if self.scale_invariant:
            loss = loss + self.scale_invariant * scale_invariant(log_depth, log_target, valid)
        return loss

    def metrics(self) -> MetricCollection:
        """The nine numbers of `DepthMetrics`."""
        return MetricCollection([DepthMetrics(self.rules)])

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Adds one batch to the metrics."""
        target = self._depth(batch)
        prediction = self.prediction(self.finite(output), size_of(target))
        metrics.update(prediction, target, extent=batch.get("extent"))

    def draw(
        self, values: Float[Tensor, "b 1 h w"], like: Float[Tensor, "b 1 h w"] | None = None
    ) -> UInt8[Tensor, "b 3 h w"]:
        """Near is bright, far is dark, unknown is grey; the range is that of each image."""
        return pictures.depth(values, like=like)

    def save(self, prediction: Float[Tensor, "1 h w"], stem: Path) -> list[Path]:
        """Writes `<stem>_depth.png` (see `images.write_depth`) and `<stem>_depth_color.png`.

        The unit is a millimetre, or 1/256 m (KITTI's) where max_depth is beyond 65 m.
        """
        scale = 1000 if self.max_depth * 1000 <= images.LARGEST else 256
        depth = images.write_depth(prediction, Path(f"{stem}_depth.png"), scale=scale)
        colors = self.draw(prediction[None])[0]
        return [depth, images.write_image(colors, Path(f"{stem}_depth_color.png"))]

    def _depth(self, batch: Batch) -> Float[Tensor, "b 1 h w"]:
        return self.target_of(batch, "batch", 1, "height", "width")


def _log(depth: Tensor, least: float) -> Tensor:
    """The logarithm, continued below `least` by its tangent: zero and below still have a slope."""
    safe = depth.clamp(min=least)
    return safe.log() + (depth - safe) / least
