"""Teachers of torchvision."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from anyteacher.errors import TeacherError, did_you_mean, require
from anyteacher.layout import Size
from anyteacher.normalization import ImageNorm
from anyteacher.teachers.named import (
    PRETRAINED,
    RANDOM,
    LibraryTeacher,
    Preprocessing,
    find,
    keywords,
    offline,
)
from anyteacher.weights import load_state, read_state


class Torchvision(LibraryTeacher):
    """A model of torchvision, with the preprocessing that belongs to its pretrained weights.

    Detectors normalise by themselves and are given images in [0, 1].

    Args:
        name: As `torchvision.models.list_models` has it.
        weights: "pretrained" for torchvision's default ones, "random" from the seed, or the path
            of a checkpoint: the model is then built as for the default ones, where the settings
            and the file allow it.
        seed: For random weights.
        settings: A mapping of further keyword arguments of the model.
        norm: In place of the normalisation of its weights.
        size: Height and width to resize to; None for the images' own size, unless the model
            takes one size only.
        dtype: See `Teacher`.
        stop_early: See `Teacher`.
    """

    def __init__(
        self,
        name: str,
        *,
        weights: str | Path = PRETRAINED,
        seed: int = 0,
        settings: Mapping[str, Any] | Any = None,
        norm: ImageNorm | None = None,
        size: Size | None = None,
        dtype: torch.dtype | str | None = None,
        stop_early: bool = True,
    ) -> None:
        models = require("torchvision.models")
        if name not in models.list_models():
            raise TeacherError(
                f"torchvision has no model '{name}'. {did_you_mean(name, models.list_models())}"
            )

        given = keywords(settings)

        def build(source: str | Path) -> nn.Module:
            if source == PRETRAINED:
                _check_reach(models.get_model_weights(name), given.get("weights", "DEFAULT"))
                made: nn.Module = models.get_model(name, **{"weights": "DEFAULT", **given})
                return made
            if source == RANDOM:
                return _plain(models, name, given)
            return _filled(models, name, given, source)

        def describe(model: nn.Module) -> Preprocessing:
            transforms: Any = models.get_model_weights(name).DEFAULT.transforms()
            mean, std = getattr(transforms, "mean", None), getattr(transforms, "std", None)
            own = ImageNorm(tuple(mean), tuple(std)) if mean and std else ImageNorm()
            cropped = getattr(transforms, "crop_size", None) or []
            fixed = getattr(model, "image_size", None)  # its vision transformers
            return Preprocessing(
                own,
                (fixed, fixed) if isinstance(fixed, int) else None,
                (cropped[0], cropped[-1]) if cropped else None,
                made_for=", or make the model for it, as settings={'image_size': height} does",
            )

        found = find(build, describe, name=name, weights=weights, seed=seed)
        super().__init__(found, norm=norm, size=size, dtype=dtype, stop_early=stop_early)


def _check_reach(entries: Any, chosen: Any) -> None:
    """Refuses to fetch weights where the environment forbids it, which torchvision does not read.

    Raises:
        OSError: then.
    """
    entry, forbids = entries.verify(chosen), offline()
    if entry is None or not forbids:
        return
    path = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(entry.url).path).name)
    if not path.is_file():
        raise FileNotFoundError(f"there is no '{path}', and {forbids} is set")


def _plain(models: Any, name: str, settings: Mapping[str, Any]) -> nn.Module:
    """The model as it is without weights."""
    # No weights of a backbone either, which a segmentation model would fetch by itself.
    takes = inspect.signature(models.get_model_builder(name)).parameters
    alone = {"weights_backbone": None} if "weights_backbone" in takes else {}
    # These two warn where nothing is said.
    started = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    made: nn.Module = models.get_model(name, **{"weights": None, **alone, **started, **settings})
    return made


def _filled(models: Any, name: str, settings: Mapping[str, Any], path: str | Path) -> nn.Module:
    """The model with the weights of a file, built as for pretrained ones where it is like those.

    A builder changes more than the weights with them: Inception then takes images of another
    normalisation to its own, detectors freeze their batch normalisation, segmentation models get
    a second head.

    Raises:
        TeacherError: when the file is of another model, or may be of either kind.
    """
    state = read_state(path)
    try:
        with _in_place_of_download(models.get_model_weights(name), state, path):
            made: nn.Module = models.get_model(name, **{"weights": "DEFAULT", **settings})
        return made
    except (TeacherError, ValueError) as error:  # of a file, or of settings that are not theirs
        model = _plain(models, name, settings)
        try:
            load_state(model, state, path)
        except TeacherError as other:
            raise (error if isinstance(error, TeacherError) else other) from None
    if hasattr(model, "transform_input") and "transform_input" not in settings:
        raise TeacherError(
            f"'{path}' holds a {name} that is not as torchvision's own, and does not say whether "
            "the model takes images to a normalisation of its own. State it: "
            "settings={'transform_input': True} where it was trained from torchvision's weights, "
            "else False."
        )
    return model


@contextmanager
def _in_place_of_download(
    entries: Any, state: Mapping[str, Tensor], path: str | Path
) -> Iterator[None]:
    """Inside, builders load a state dict where they would fetch weights, with our checks of it."""
    load = nn.Module.load_state_dict

    def loaded(model: nn.Module, given: Mapping[str, Any], *args: Any, **settings: Any) -> Any:
        if given is state:
            return load_state(model, state, path)
        return load(model, given, *args, **settings)

    entries.get_state_dict = lambda *args, **settings: state
    nn.Module.load_state_dict = loaded  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        nn.Module.load_state_dict = load  # type: ignore[method-assign]
        del entries.get_state_dict
