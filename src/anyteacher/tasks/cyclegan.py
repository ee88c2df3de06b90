"""Image translation without pairs: how pictures of one kind would look in another."""

import math
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics import MetricCollection

from anyteacher.errors import ConfigError
from anyteacher.metrics import FeatureMetrics
from anyteacher.readout import Colors, resize
from anyteacher.tasks.adversary import Adversarial, Adversary
from anyteacher.tasks.base import Batch
from anyteacher.tasks.extractor import Extractor
from anyteacher.tasks.history import History
from anyteacher.tasks.picture import PictureTask
from anyteacher.tasks.targets import size_of

# Of its authors: 1 to a cycle's 10, with colours that span twice as much.
_ADVERSARIAL = Adversarial(weight=0.05)


@final
class CycleGAN(PictureTask):
    """A picture of another kind, learned from pictures of both kinds that belong to no pairs.

    The student makes pictures of the other kind, and a second network, `back`, makes them into
    images again. Each has an adversary that tells what it makes from real pictures. What one made,
    the other must take back: that keeps the scene. What is of the kind that it makes already, each
    should leave alone. With A the images, B the pictures of the other kind, S the student and T the
    way back, the loss is

        weight (adversary(S(A)) + adversary(T(B))) + |T(S(A)) - A| + |S(T(B)) - B|
            + identity (|S(B) - B| + |T(A) - A|),

    each the mean over pixels, colours and images. The student runs three times a batch, and links
    compare its features of A.

    The outputs of both networks are logits of colours in [0, 1], resized to the picture.

    Source: Zhu, Park, Isola and Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent
    Adversarial Networks", ICCV 2017; there, a cycle weighs 10, on colours from -1 to 1.

    Args:
        back: Makes images of the other kind's pictures in [0, 1], as logits. It is trained beside
            the student, with its optimiser, and is no part of it.
        features: What sees the pictures for the distances of sets, `fid`, which chooses the best
            checkpoint, and `kid`.
        adversarial: How the adversaries judge and learn.
        identity: Weight of leaving alone what is of the right kind already; 0 for none, which
            saves two of six passes through the networks.
        history: How many made pictures each adversary is shown again.

    Raises:
        ConfigError: when a setting is impossible.
    """

    target = "unpaired"
    mode = "min"

    def __init__(
        self,
        back: nn.Module,
        features: Extractor,
        adversarial: Adversarial = _ADVERSARIAL,
        identity: float = 0.5,
        history: int = 50,
    ) -> None:
        super().__init__()
        if not 0 <= identity < math.inf:
            raise ConfigError(f"The weight of the identity must be 0 or more, got {identity}.")
        self.back, self.features, self.identity = back, features, identity
        # Of what the student makes, and of what is made on the way back.
        self.adversaries = [Adversary(adversarial, channels=3, number=n) for n in range(2)]
        self.histories = [History(history) for _ in range(2)]

    @property
    def monitor(self) -> str:
        """`fid` by the network of `features`."""
        return f"fid/{self.features.name}"

    def prediction(self, output: Tensor, size: tuple[int, int]) -> Float[Tensor, "b 3 h w"]:
        """The picture, in [0, 1]."""
        return self.readout()(self.check(output), size)

    def readout(self) -> Colors:
        """The prediction, by torch alone."""
        return Colors(logits=True)

    def loss(self, output: Tensor, batch: Batch) -> Float[Tensor, ""]:
        """What the adversary says of the student's pictures, which is the part of a raw output."""
        other = self.picture_of(batch)
        return self._judged(0, self.prediction(output, size_of(other)))

    def terms(
        self, output: Tensor, batch: Batch, student: Callable[[Tensor], Tensor]
    ) -> Mapping[str, Tensor]:
        """Both ways, both cycles, and what is to be left alone; the adversaries learn, too."""
        other = self.picture_of(batch)
        size = size_of(other)
        image = resize(batch["image"], size)

        def forth(given: Tensor) -> Tensor:
            return self.prediction(student(given), size)

        def back(given: Tensor) -> Tensor:
            return self.prediction(self.back(given), size)

        made = self.prediction(output, size), back(other)
        terms = {
            "adversary": self._judged(0, made[0]) + self._judged(1, made[1]),
            "cycle": _difference(back(made[0]), image) + _difference(forth(made[1]), other),
        }
        if self.identity:
            same = _difference(forth(other), other) + _difference(back(image), image)
            terms["identity"] = self.identity * same
        for adversary, history, real, drawn in zip(
            self.adversaries, self.histories, (other, image), made, strict=True
        ):
            adversary.learn(real, history.mixed(drawn))
        return terms

    def _judged(self, which: int, made: Tensor) -> Tensor:
        adversary = self.adversaries[which]
        return adversary.settings.weight * adversary.judge(made)

    def stepped(self) -> None:
        """Both adversaries make their step."""
        for adversary in self.adversaries:
            adversary.step()

    def checkpoint(self) -> dict[str, Any]:
        """The states of the adversaries, and the pictures of their histories."""
        device = next(self.back.parameters()).device
        return {
            "adversaries": [adversary.state_dict() for adversary in self.adversaries],
            "histories": [history.state(device) for history in self.histories],
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Goes on with those.

        Raises:
            ConfigError: when the run was one of another task.
        """
        if "histories" not in state:
            raise ConfigError(
                "The checkpoint is not one of CycleGAN: it holds no histories. Resume with the "
                "settings of the run, or start another one (--output)."
            )
        for adversary, own in zip(self.adversaries, state["adversaries"], strict=True):
            adversary.load_state_dict(own)
        for history, kept in zip(self.histories, state["histories"], strict=True):
            history.resume(kept)

    def metrics(self) -> MetricCollection:
        """`fid` and `kid` by the network of `features`."""
        return MetricCollection([FeatureMetrics(self.features.name)])

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Adds one batch to the metrics, and of pictures that come again only the first."""
        other = self.picture_of(batch)
        made = self.prediction(self.finite(output), size_of(other))
        real = other
        if "once" in batch:
            made, real = (
                x[new] for x, new in zip((made, other), batch["once"].unbind(1), strict=True)
            )
        pictures = torch.cat([made, real])
        # Where none is new, no features of the same width: every process must give some to gather.
        seen = self.features(pictures if len(pictures) else other[:1])[: len(pictures)]
        metrics.update(made=seen[: len(made)], real=seen[len(made) :])


def _difference(made: Tensor, real: Tensor) -> Tensor:
    return (made - real).abs().mean()
