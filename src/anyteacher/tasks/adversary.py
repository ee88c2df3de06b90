"""An adversary that learns to tell made pictures from real ones, beside the student.

The student is optimised by its training as ever. The adversary is optimised here, by hand, whenever
the student is: it is no part of the student, of the optimiser or of what a data-parallel wrapper
synchronises, and computes in its own precision whatever the student's is.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError, NonFiniteError
from anyteacher.parallel import from_first, total, world_size
from anyteacher.seeding import forked
from anyteacher.tasks.patchgan import PatchGAN

# Its weights are drawn apart from the student's, which the same seed gives.
_SEED_OFFSET = 0x5EED_AD5E


@dataclass(frozen=True)
class Adversarial:
    """How an adversary judges and learns.

    Args:
        loss: `least_squares` (Mao et al., ICCV 2017) or `vanilla` (Goodfellow et al., NeurIPS 2014;
            of the student, the form that does not saturate).
        weight: Of what the adversary says, beside the mean absolute difference. That of pix2pix is
            1 to 100 with colours that span twice as much, which is 0.005 here.
        lr: Learning rate of the adversary (Adam with betas 0.5 and 0.999). It stays, while that of
            the student grows and falls; in CycleGAN's paper both fall in the second half.
        width: Channels of its first layer.
        layers: That halve the grid: three judge patches of 70 x 70 pixels, two of 34 x 34.

    Raises:
        ConfigError: when a setting is impossible.
    """

    loss: Literal["least_squares", "vanilla"] = "least_squares"
    weight: float = 0.005
    lr: float = 2e-4
    width: int = 64
    layers: int = 3

    def __post_init__(self) -> None:
        if self.loss not in ("least_squares", "vanilla"):
            raise ConfigError(f"loss must be 'least_squares' or 'vanilla', not {self.loss!r}.")
        if not (0 < self.weight < math.inf and 0 < self.lr < math.inf):
            raise ConfigError(
                f"weight and lr of an adversary must be positive, got {self.weight} and {self.lr}."
            )


def verdict(
    logits: Float[Tensor, "b 1 h w"], real: bool, loss: Literal["least_squares", "vanilla"]
) -> Float[Tensor, ""]:
    """How far logits are from saying that a picture is real, or is not: mean over all patches."""
    wanted = torch.full_like(logits, float(real))
    if loss == "vanilla":
        return F.binary_cross_entropy_with_logits(logits, wanted)
    return F.mse_loss(logits, wanted)


class Adversary:
    """A PatchGAN with its optimiser. It looks at pictures, or at pictures beside their images.

    Not a module: what it learns must not be taken for a part of the student.

    Args:
        settings: how it judges and learns.
        channels: of what it looks at.
        number: tells several of a task apart, which start from other weights.
    """

    def __init__(self, settings: Adversarial, channels: int, number: int = 0) -> None:
        self.settings = settings
        with forked(torch.initial_seed() ^ _SEED_OFFSET + number):
            self.network = PatchGAN(channels, width=settings.width, layers=settings.layers)
        self.network.requires_grad_(False)
        self.optimizer = self._optimizer()
        self._batches = 0  # whose gradients wait for a step
        self._alike = False  # whether all processes are known to have the same

    def _optimizer(self) -> torch.optim.Optimizer:
        parameters = self.network.parameters()
        return torch.optim.Adam(parameters, lr=self.settings.lr, betas=(0.5, 0.999))

    def learn(
        self, real: Float[Tensor, "b c h w"], made: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, ""]:
        """Adds a batch to what the next step goes by, towards telling made pictures from real ones.

        Nothing reaches what the pictures were made by.

        Args:
            real: with colours in [0, 1].
            made: likewise, with colours that may lie outside.

        Returns:
            The loss, the mean of both kinds.

        Raises:
            NonFiniteError: when it is no number.
        """
        self._follow(made.device)
        parameters = list(self.network.parameters())
        self.network.requires_grad_(True)
        try:
            loss = torch.stack(
                [
                    verdict(self._logits(pictures.detach()), known, self.settings.loss)
                    for pictures, known in ((real, True), (made, False))
                ]
            ).mean()
            gradients = torch.autograd.grad(loss, parameters)
        finally:
            self.network.requires_grad_(False)
        if not torch.isfinite(loss):
            raise NonFiniteError(
                f"The loss of the adversary is {loss.item()}. A smaller learning rate of it, or of "
                "the student, may help."
            )
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        self._batches += 1
        return loss.detach()

    def step(self) -> None:
        """Makes one step by the mean gradient of the batches since the last one.

        Data-parallel processes step alike, by the mean of all of theirs.
        """
        if not self._batches:
            return
        for parameter in self.network.parameters():
            gradient = cast("Tensor", parameter.grad)
            parameter.grad = total(gradient / self._batches) / world_size()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._batches = 0

    def judge(self, made: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
        """How far made pictures are from passing as real ones: the loss of what made them."""
        self._follow(made.device)
        return verdict(self._logits(made), True, self.settings.loss)

    def state_dict(self) -> dict[str, Any]:
        """What it has learned, and the state of its optimiser."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from there.

        Raises:
            ConfigError: when it is the state of another network.
        """
        try:
            self.network.load_state_dict(state["network"])
        except RuntimeError as error:
            raise ConfigError(
                "The checkpoint's adversary has other layers or widths than the settings ask for. "
                "Resume with the settings of the run."
            ) from error
        self.optimizer.load_state_dict(state["optimizer"])

    def _logits(self, pictures: Tensor) -> Tensor:
        """Colours in [0, 1] are spread over [-1, 1]."""
        dtype = next(self.network.parameters()).dtype
        with torch.autocast(pictures.device.type, enabled=False):
            logits: Tensor = self.network(2 * pictures.to(dtype) - 1)
        return logits

    def _follow(self, device: torch.device) -> None:
        """Moves to where the student is.

        Data-parallel processes begin with the weights of the first: unseeded, each drew its own.
        """
        if next(self.network.parameters()).device != device:
            state = self.optimizer.state_dict()
            self.network.to(device)
            self.optimizer = self._optimizer()
            self.optimizer.load_state_dict(state)  # which puts it where the parameters are
        if world_size() > 1 and not self._alike:
            for parameter in self.network.parameters():
                from_first(parameter)
            self._alike = True
