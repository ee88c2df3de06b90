"""Teachers of timm."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

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
)
from anyteacher.weights import load_state, read_state, without_prefix

# The settings that say which features of a model it gives in place of its output.
_FEATURES = ("features_only", "out_indices", "feature_cls", "output_fmt")
_FOLDER = "Name a local folder that has it, as local-dir:FOLDER."


class Timm(LibraryTeacher):
    """A model of timm, with the preprocessing of its own configuration.

    Args:
        name: As `timm.list_models` has it.
        weights: "pretrained" from the hub, "random" from the seed, or the path of a checkpoint,
            which timm converts as it does pretrained weights, for another size of images say.
        seed: For random weights.
        settings: A mapping of further keyword arguments of `timm.create_model`.
        norm: In place of the normalisation of its configuration.
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
        timm = require("timm")
        _check_name(timm, name)
        given, make = keywords(settings), partial(timm.create_model, name)

        def build(source: str | Path) -> nn.Module:
            known = source in (PRETRAINED, RANDOM)
            model: nn.Module = make(pretrained=source == PRETRAINED, **given)
            return model if known else _filled(make, given, model, read_state(source), source)

        def describe(model: nn.Module) -> Preprocessing:
            config = timm.data.resolve_model_data_config(model)
            own = ImageNorm(tuple(config["mean"]), tuple(config["std"]))
            trained_at = tuple(config["input_size"][1:])
            made_for = ", or make the model for it, as settings={'img_size': (height, width)} does"
            # Plain transformers take the size they were made for; others that need one size say
            # so in their configuration.
            patches: Any = getattr(model, "patch_embed", None)
            if hasattr(patches, "strict_img_size"):
                fixed = tuple(patches.img_size) if patches.strict_img_size else None
                return Preprocessing(own, fixed, trained_at, made_for=made_for)
            fixed = getattr(model, "default_cfg", {}).get("fixed_input_size", False)
            return Preprocessing(own, trained_at if fixed else None, trained_at, made_for=made_for)

        way = {"way": _FOLDER} if ":" in name else {}
        found = find(build, describe, name=name, weights=weights, seed=seed, **way)
        super().__init__(found, norm=norm, size=size, dtype=dtype, stop_early=stop_early)


def _check_name(timm: Any, name: str) -> None:
    if ":" in name:
        return
    model, _, tag = name.partition(".")
    if not timm.is_model(model):
        raise TeacherError(f"timm has no model '{name}'. {did_you_mean(name, timm.list_models())}")
    try:
        timm.models.get_pretrained_cfg(name)
    except RuntimeError as error:  # no such tag; there are some without weights
        near = did_you_mean(name, timm.list_pretrained(f"{model}.*"))
        raise TeacherError(f"timm has no weights '{tag}' of '{model}'. {near}") from error


def _filled(
    make: Callable[..., nn.Module],
    settings: Mapping[str, Any],
    model: nn.Module,
    state: Mapping[str, Tensor],
    path: str | Path,
) -> nn.Module:
    """The model with the weights of a file, which timm converts where they fit no key by key.

    It does so with pretrained ones, too: position embeddings of another size are resampled, and
    the names that a model's authors gave are translated. Of a model without a head, the head of the
    file is left out.
    """
    if settings.get("features_only"):
        # Some of them timm fills with whatever fits, so the file must be one of the whole body.
        body = {key: value for key, value in settings.items() if key not in _FEATURES}
        body["num_classes"] = 0
        whole = _filled(make, body, make(**body), state, path)
        state = whole.state_dict()
    state = without_prefix(state, model.state_dict())
    classes = getattr(model, "num_classes", 0)
    if not classes:
        heads: Any = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
        heads = (heads,) if isinstance(heads, str) else heads
        drop = {f"{head}.{kind}" for head in heads for kind in ("weight", "bias")}
        state = {key: value for key, value in state.items() if key not in drop}
    try:
        load_state(model, state, path)
    except TeacherError as error:
        # As many classes as the model has: of any other number timm would drop them in silence.
        own = {"state_dict": state, "source": "", "num_classes": classes, "label_offset": 0}
        overlay = {**settings.get("pretrained_cfg_overlay", {}), **own}
        try:
            converted: Any = make(
                pretrained=True, **{**settings, "pretrained_cfg_overlay": overlay}
            )
        except (KeyError, NotImplementedError, RuntimeError, ValueError):
            raise error from None
        converted.pretrained_cfg.pop("state_dict", None)  # a second copy of all
        made: nn.Module = converted
        return made
    return model
