"""What the teachers of a library have in common: weights by name, and their own preprocessing."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from anyteacher.errors import AnyteacherError, TeacherError
from anyteacher.layout import Size
from anyteacher.normalization import ImageNorm
from anyteacher.seeding import forked
from anyteacher.teacher import ChannelOrder, Teacher
from anyteacher.teachers.untrained import has_batch_norm

PRETRAINED, RANDOM = "pretrained", "random"


@dataclass(frozen=True)
class Preprocessing:
    """What a model's own configuration says of its images.

    Attributes:
        norm: How they are normalised, its numbers in the order red, green, blue.
        size: Height and width, where the model takes no other.
        trained_at: Height and width that it was trained at, where that is known.
        order: Of their channels.
    """

    norm: ImageNorm | None
    size: Size | None = None
    trained_at: Size | None = None
    order: ChannelOrder = "rgb"


@dataclass(frozen=True)
class Found:
    """A model of a library, and how its images are prepared.

    Attributes:
        model: The model.
        images: What its configuration says of its images.
        file: The checkpoint to load into it, if one is asked for.
        waits: Whether its random weights wait for statistics.
    """

    model: nn.Module
    images: Preprocessing
    file: str | Path | None
    waits: bool


class LibraryTeacher(Teacher, ABC):
    """A teacher of a library, once its model is found; what is final names the library.

    Args:
        found: The model, and how its images are prepared.
        norm: In place of the normalisation that its configuration says.
        size: In place of the size.
        dtype: See `Teacher`.
        stop_early: See `Teacher`.
    """

    @abstractmethod
    def __init__(
        self,
        found: Found,
        *,
        norm: ImageNorm | None,
        size: Size | None,
        dtype: torch.dtype | str | None,
        stop_early: bool,
    ) -> None:
        super().__init__(
            found.model,
            weights=found.file,
            norm=norm or found.images.norm,
            size=size or found.images.size,
            dtype=dtype,
            stop_early=stop_early,
            order=found.images.order,
        )
        self.trained_at, self.calibrated = found.images.trained_at, not found.waits


def find(
    build: Callable[[bool], nn.Module],
    describe: Callable[[nn.Module], Preprocessing],
    *,
    name: str,
    weights: str | Path,
    seed: int,
) -> Found:
    """A model with pretrained weights, with random ones, or to be loaded from a file.

    Args:
        build: Makes the model, with pretrained weights or without.
        describe: Says how its images are prepared.
        name: For messages.
        weights: "pretrained", "random", or the path of a checkpoint.
        seed: For random weights; the random state outside stays as it was.

    Raises:
        TeacherError: when weights or configuration cannot be had.
    """
    pretrained = weights == PRETRAINED
    try:
        with forked(seed):
            model = build(pretrained)
        images = describe(model)
    except AnyteacherError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        # A hub that cannot be reached (OSError), or has no such weights (the other two).
        if not pretrained and not isinstance(error, OSError):
            raise
        raise TeacherError(_unavailable(name, error, pretrained=pretrained)) from error
    file = None if weights in (PRETRAINED, RANDOM) else weights
    return Found(model, images, file, weights == RANDOM and has_batch_norm(model))


def _unavailable(name: str, error: Exception, *, pretrained: bool) -> str:
    reason = (str(error).strip().splitlines() or [""])[0]
    what = "pretrained weights" if pretrained else "configuration"
    way = (
        'Give a local file as weights="path/to/file", or weights="random".'
        if pretrained
        else "Name a local folder that has it (for timm as local-dir:FOLDER), or give transformers "
        "a `config`."
    )
    return (
        f"The {what} of '{name}' could not be had ({type(error).__name__}: {reason}). {way} "
        "HF_HUB_OFFLINE=1 in the environment spares the attempts to reach a network."
    )


def unknown_preprocessing(name: str, error: Exception) -> TeacherError:
    """What to raise where a model is there and the description of its images is not."""
    reason = (str(error).strip().splitlines() or [""])[0]
    return TeacherError(
        f"How '{name}' wants its images could not be had ({type(error).__name__}: {reason}). State "
        "it: norm=ImageNorm(mean, std)."
    )
