"""What the teachers of a library have in common: weights by name, and their own preprocessing."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anyteacher.errors import AnyteacherError, TeacherError
from anyteacher.layout import Size
from anyteacher.normalization import ImageNorm
from anyteacher.seeding import forked
from anyteacher.teacher import ChannelOrder, Teacher
from anyteacher.teachers.untrained import has_batch_norm, random_weights

PRETRAINED, RANDOM = "pretrained", "random"

# What libraries raise on settings that a model does not take.
_OF_SETTINGS = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Preprocessing:
    """What a model's own configuration says of its images.

    Attributes:
        norm: How they are normalised, its numbers in the order red, green, blue.
        size: Height and width, where the model takes no other.
        trained_at: Height and width that it was trained at, where that is known.
        order: Of their channels.
        made_for: What makes the model for another size than `size`, for a message.
    """

    norm: ImageNorm | None
    size: Size | None = None
    trained_at: Size | None = None
    order: ChannelOrder = "rgb"
    made_for: str = ""


@dataclass(frozen=True)
class Found:
    """A model of a library with its weights, and how its images are prepared.

    Attributes:
        model: The model.
        images: What its configuration says of its images.
        origin: Where its weights are from, in words.
        waits: Whether its random weights wait for statistics.
    """

    model: nn.Module
    images: Preprocessing
    origin: str
    waits: bool


class LibraryTeacher(Teacher, ABC):
    """A teacher of a library, once its model is found; what is final names the library.

    Args:
        found: The model, and how its images are prepared.
        norm: In place of the normalisation that its configuration says.
        size: In place of the images' own size.
        dtype: See `Teacher`.
        stop_early: See `Teacher`.

    Raises:
        TeacherError: when the model takes another size only.
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
        only = found.images.size
        if only is not None and size is not None and tuple(size) != only:
            raise TeacherError(
                f"This {type(found.model).__name__} takes images of {only[0]} x {only[1]} only, "
                f"and size is {tuple(size)}. Leave the size out{found.images.made_for}."
            )
        super().__init__(
            found.model,
            norm=norm or found.images.norm,
            size=size or only,
            dtype=dtype,
            stop_early=stop_early,
            order=found.images.order,
        )
        self.trained_at, self.calibrated = found.images.trained_at, not found.waits
        self.origin = found.origin


def find(
    build: Callable[[str | Path], nn.Module],
    describe: Callable[[nn.Module], Preprocessing],
    *,
    name: str,
    weights: str | Path,
    seed: int,
    way: str = 'Give a local file as weights="path/to/file", or weights="random".',
) -> Found:
    """A model with pretrained weights, with random ones, or with those of a file.

    Args:
        build: Makes the model with the weights that it is told: "pretrained", "random", or the
            path of a checkpoint.
        describe: Says how its images are prepared.
        name: For messages.
        weights: What `build` is told.
        seed: For random weights; the random state outside stays as it was.
        way: What to do where there is no network.

    Raises:
        TeacherError: when weights or configuration cannot be had, or the model cannot be made.
    """
    if not str(weights):
        raise TeacherError(
            f"The weights of '{name}' are said by an empty text. Say "
            f'"{PRETRAINED}", "{RANDOM}" or the path of a checkpoint.'
        )
    try:
        with forked(seed):
            model = build(weights)
        images = describe(model)
    except (AnyteacherError, torch.OutOfMemoryError):
        raise
    except OSError as error:  # a hub that cannot be reached
        what = "pretrained weights" if weights == PRETRAINED else "configuration"
        spared = " HF_HUB_OFFLINE=1 in the environment spares the attempts to reach a network."
        raise TeacherError(
            f"The {what} of '{name}' could not be had ({reason(error)}). {way}"
            f"{'' if offline() else spared}"
        ) from error
    except _OF_SETTINGS as error:
        with_ = {PRETRAINED: "pretrained weights", RANDOM: "random weights"}.get(
            str(weights), f"the weights of '{weights}'"
        )
        other = f', or give weights="path/to/file" or weights="{RANDOM}"'
        raise TeacherError(
            f"'{name}' cannot be made with {with_} ({reason(error)}). Look at its name and "
            f"settings{other if weights == PRETRAINED else ''}."
        ) from error
    origin = {PRETRAINED: "pretrained weights", RANDOM: random_weights(seed)}.get(
        str(weights), f"the weights of {weights}"
    )
    return Found(model, images, origin, weights == RANDOM and has_batch_norm(model))


def keywords(settings: Any) -> dict[str, Any]:
    """Further keyword arguments of a model; none where none are given.

    The classes take `Mapping | Any`: the parser needs the one for a flag such as
    `--teacher.settings.name`, and of several teachers hands on mappings by the other alone.

    Raises:
        TeacherError: when they are no mapping.
    """
    if settings is None:
        return {}
    if not isinstance(settings, Mapping):
        raise TeacherError(
            f"Settings are a mapping of a model's keyword arguments, got {settings!r}. Write "
            "settings={'name': value}."
        )
    return dict(settings)


def offline() -> str:
    """The environment variable that forbids to ask a network; empty where none does."""
    yes = ("1", "ON", "YES", "TRUE")  # as the hub's own library reads them
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return next((name for name in names if os.environ.get(name, "").upper() in yes), "")


def reason(error: Exception) -> str:
    """An error's type and the first line of what it says."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0].rstrip('.')}"


def unknown_preprocessing(name: str, error: Exception) -> TeacherError:
    """What to raise where a model is there and the description of its images is not."""
    return TeacherError(
        f"How '{name}' wants its images could not be had ({reason(error)}). State it: "
        "norm=ImageNorm(mean, std)."
    )
