"""Image translation: the same scene, as it would look under other conditions."""

from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import MetricCollection

from anyteacher.errors import ConfigError
from anyteacher.metrics import FeatureMetrics, TranslationMetrics
from anyteacher.readout import Colors, resize
from anyteacher.tasks.adversary import Adversarial, Adversary
from anyteacher.tasks.base import Batch
from anyteacher.tasks.extractor import Extractor
from anyteacher.tasks.picture import PictureTask
from anyteacher.tasks.targets import size_of, valid_mean


@final
class Translation(PictureTask):
    """A picture of three colours in [0, 1], learned from pairs.

    The loss is the mean absolute difference, alone or with an adversary that tells made pictures
    from real ones (pix2pix: Isola et al., CVPR 2017), which learns beside the student.

    The output is the picture itself, resized to the target. What lies outside of [0, 1] is cut off
    in predictions, and drawn back by the loss.

    Where the target is NaN, nothing is known: neither the loss nor `psnr` and `ssim` count it, and
    what looks at whole pictures, the adversary and `features`, sees the image there in either.

    Args:
        target: the key of the batch that holds the picture to be made, (B, 3, H, W) in [0, 1], NaN
            where unknown: `target` for pairs on disk, `relit` for rooms at night.
        adversarial: how an adversary judges and learns; None for the difference alone.
        features: what sees the pictures for the distances of sets, `fid` and `kid`; None for
            neither.
    """

    monitor = "ssim"
    mode = "max"

    def __init__(
        self,
        target: str = "target",
        adversarial: Adversarial | None = None,
        features: Extractor | None = None,
    ) -> None:
        super().__init__()
        self.target = target
        self.adversary = None if adversarial is None else Adversary(adversarial, channels=6)
        self.features = features

    def prediction(self, output: Tensor, size: tuple[int, int]) -> Float[Tensor, "b 3 h w"]:
        """The picture, in [0, 1]."""
        return self.readout()(self.check(output), size)

    def readout(self) -> Colors:
        """The prediction, by torch alone."""
        return Colors()

    def loss(self, output: Tensor, batch: Batch) -> Float[Tensor, ""]:
        """The mean absolute difference over known pixels and colours, then over images."""
        picture = self.picture_of(batch)
        made = resize(self.check(output), size_of(picture))
        known = ~picture.isnan()
        # No difference in place of an unknown one, whose gradient would be unknown, too.
        difference = made - torch.where(known, picture, made.detach())
        return valid_mean(difference.abs(), known).mean()

    def terms(
        self, output: Tensor, batch: Batch, student: Callable[[Tensor], Tensor]
    ) -> Mapping[str, Tensor]:
        """The difference, and what the adversary says, which learns from the batch, too."""
        del student
        terms = {"difference": self.loss(output, batch)}
        if self.adversary is not None:
            image, *pictures = self._whole(batch, self.check(output))
            real, made = (torch.cat([image, picture], dim=1) for picture in pictures)
            terms["adversary"] = self.adversary.settings.weight * self.adversary.judge(made)
            self.adversary.learn(real, made)
        return terms

    def _whole(self, batch: Batch, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The image, the real and the made picture, both as the image where nothing is known."""
        picture = self.picture_of(batch)
        size, known = size_of(picture), ~picture.isnan()
        image, made = resize(batch["image"], size), resize(output, size)
        return image, torch.where(known, picture, image), torch.where(known, made, image)

    def stepped(self) -> None:
        """The adversary makes its step."""
        if self.adversary is not None:
            self.adversary.step()

    def checkpoint(self) -> dict[str, Any]:
        """The state of the adversary, if there is one."""
        return {} if self.adversary is None else {"adversary": self.adversary.state_dict()}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Goes on with that adversary.

        Raises:
            ConfigError: when the run had none, or had one and this task has none.
        """
        if ("adversary" in state) != (self.adversary is not None):
            here, there = ("an", "none") if self.adversary is None else ("no", "one")
            raise ConfigError(
                f"The checkpoint holds {here} adversary, and the task has {there}. Resume with the "
                "settings of the run, or start another one (--output)."
            )
        if self.adversary is not None:
            self.adversary.load_state_dict(state["adversary"])

    def metrics(self) -> MetricCollection:
        """`psnr` and `ssim`, and with features those of `FeatureMetrics`."""
        of_sets = [] if self.features is None else [FeatureMetrics(self.features.name)]
        return MetricCollection([TranslationMetrics(), *of_sets])

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Adds one batch to the metrics."""
        picture = self.picture_of(batch)
        made = self.prediction(self.finite(output), size_of(picture))
        if self.features is None:
            metrics.update(made, picture)
        else:
            _, whole, drawn = self._whole(batch, made)
            seen = {"made": self.features(drawn), "real": self.features(whole)}
            metrics.update(prediction=made, target=picture, **seen)
