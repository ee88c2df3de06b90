"""Teachers that were never trained."""

from collections.abc import Callable

import torch
from torch import nn

from anyteacher.layout import Size
from anyteacher.normalization import ImageNorm
from anyteacher.seeding import forked
from anyteacher.teacher import BatchNorm, Teacher


class Random(Teacher):
    """A teacher that never saw data: an untrained model, initialised from a seed.

    A model with batch normalisation has to be calibrated on a few batches before it is used;
    the training command does that.

    Args:
        build: Makes the model, with the initialisation that is wanted.
        seed: The same seed gives the same teacher; the random state outside stays as it was.
        norm: See `Teacher`.
        size: See `Teacher`.
        dtype: See `Teacher`.
        stop_early: See `Teacher`.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        *,
        seed: int = 0,
        norm: ImageNorm | None = None,
        size: Size | None = None,
        dtype: torch.dtype | str | None = None,
        stop_early: bool = True,
    ) -> None:
        with forked(seed):
            model = build()
        super().__init__(model, norm=norm, size=size, dtype=dtype, stop_early=stop_early)
        self.calibrated, self.origin = not has_batch_norm(model), random_weights(seed)


def random_weights(seed: int) -> str:
    """Where such weights are from, in words."""
    return f"random weights (seed {seed})"


def has_batch_norm(model: nn.Module) -> bool:
    """Whether random weights of this model need statistics before they are used."""
    return any(isinstance(module, BatchNorm) for module in model.modules())
