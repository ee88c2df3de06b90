"""Teachers of transformers."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anyteacher.errors import TeacherError, did_you_mean, require
from anyteacher.layout import Size
from anyteacher.normalization import IMAGENET, ImageNorm
from anyteacher.teachers.named import (
    PRETRAINED,
    RANDOM,
    LibraryTeacher,
    Preprocessing,
    find,
    unknown_preprocessing,
)
from anyteacher.weights import load_state, read_state

_ANOTHER = ", or give a `config` with this image_size, for weights of it or random ones"
_FOLDER = (
    "Name a local folder that has it, written by `save_pretrained`, or give a `config` with "
    'weights="path/to/file" or weights="random".'
)


class Transformers(LibraryTeacher):
    """A vision model of transformers, with the preprocessing of its image processor.

    Of a model of texts and images, such as CLIP, the tower of the images is taken.

    Args:
        name: A model of the hub, or a local folder.
        weights: "pretrained" (from the hub or the folder), "random" from its configuration and
            the seed, or the path of a checkpoint.
        seed: For random weights.
        config: A configuration in place of the one found under the name, for random weights or a
            checkpoint: an object, or a mapping with its `model_type`. No image processor is read
            then, and the normalisation is ImageNet's unless `norm` says otherwise.
        auto_class: The class of transformers that makes the model, such as `AutoModel`,
            `AutoBackbone` or `AutoModelForDepthEstimation`.
        norm: In place of the normalisation of its image processor, which then need not be there.
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
        config: Any = None,
        auto_class: str = "AutoModel",
        norm: ImageNorm | None = None,
        size: Size | None = None,
        dtype: torch.dtype | str | None = None,
        stop_early: bool = True,
    ) -> None:
        transformers = require("transformers")
        auto = _class(transformers, auto_class)

        def build(source: str | Path) -> nn.Module:
            if source == PRETRAINED:
                return _tower(auto.from_pretrained(name))
            own = _configuration(transformers, config)
            if hasattr(auto, "from_config"):
                made = auto.from_config(own or transformers.AutoConfig.from_pretrained(name))
            else:  # a class of one kind of model
                made = auto(own or auto.config_class.from_pretrained(name))
            return _tower(made) if source == RANDOM else _filled(transformers, _tower(made), source)

        def describe(model: nn.Module) -> Preprocessing:
            size = _only_size(model)
            if config is not None:
                return Preprocessing(IMAGENET, size, made_for=_ANOTHER)
            try:
                processor = transformers.AutoImageProcessor.from_pretrained(name)
            except OSError as error:
                if norm is None:
                    raise unknown_preprocessing(name, error) from error
                return Preprocessing(norm, size, made_for=_ANOTHER)
            return _read(processor, size)

        found = find(build, describe, name=name, weights=weights, seed=seed, way=_FOLDER)
        super().__init__(found, norm=norm, size=size, dtype=dtype, stop_early=stop_early)


def _class(transformers: Any, name: str) -> Any:
    """The class of transformers that makes the model.

    Raises:
        TeacherError: when there is none of this name, or it makes no model.
    """
    found = getattr(transformers, name, None)
    known = [entry for entry in dir(transformers) if entry.startswith(("AutoModel", "AutoBack"))]
    if found is None:
        raise TeacherError(f"transformers has no '{name}'. {did_you_mean(name, known)}")
    model = isinstance(found, type) and issubclass(found, nn.Module)
    if not model and not hasattr(found, "from_config"):
        raise TeacherError(
            f"'{name}' of transformers makes no model. Name a class that does, as AutoModel or "
            "AutoBackbone."
        )
    return found


def _filled(transformers: Any, model: nn.Module, path: str | Path) -> nn.Module:
    """The model with the weights of a file, which may be of the same body under a head.

    A file that fits not key by key is read by the library, which knows the names of its other
    versions.
    """
    state = read_state(path)
    base = getattr(model, "base_model_prefix", "")
    pooler = getattr(model, "pooler", None)
    learned = isinstance(pooler, nn.Module) and bool(pooler.state_dict())
    if learned and not any("pooler." in key for key in state):
        model.register_module("pooler", None)  # other heads are trained without one
    try:
        load_state(model, state, path, prefixes=(f"{base}.",) if base else ())
    except TeacherError:
        made = _translated(transformers, model, state)
        if made is None:
            raise
        return made
    return model


def _translated(transformers: Any, model: Any, state: Mapping[str, Tensor]) -> nn.Module | None:
    """The model as the library makes it of a state dict; None where that leaves weights random."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # what is missing is looked at here
    try:
        made, found = type(model).from_pretrained(
            None, config=model.config, state_dict=dict(state), output_loading_info=True
        )
    except (AttributeError, RuntimeError, ValueError):  # no class of theirs, or other shapes
        return None
    finally:
        transformers.logging.set_verbosity(level)
    # Ours has lost the pooler that the file does not have.
    if set(found["missing_keys"]) & model.state_dict().keys():
        return None
    if getattr(model, "pooler", made) is None:
        made.register_module("pooler", None)
    translated: nn.Module = made
    return translated


def _configuration(transformers: Any, given: Any) -> Any:
    """A configuration object of what is given, which YAML has as a mapping."""
    if not isinstance(given, Mapping):
        return given
    kinds = transformers.CONFIG_MAPPING
    kind = given.get("model_type", "")
    if kind not in kinds:
        raise TeacherError(
            f"A configuration for transformers needs the model_type of a known model, got "
            f"'{kind}'. {did_you_mean(kind, kinds)}"
        )
    return kinds[kind](**{key: value for key, value in given.items() if key != "model_type"})


def _tower(model: nn.Module) -> nn.Module:
    """The model itself, or the part of it that takes images.

    Raises:
        TeacherError: when it takes none.
    """
    takes = inspect.signature(model.forward).parameters
    kind = getattr(getattr(model, "config", None), "model_type", "")
    masked = any(hasattr(module, "random_masking") for module in model.modules())
    if kind == "vit_mae" and masked:
        raise TeacherError(
            f"{type(model).__name__} leaves out and shuffles its patches at random whenever it "
            "runs. Take the same weights without: auto_class='ViTModel'."
        )
    if "pixel_values" in takes and "input_ids" not in takes:
        return model
    tower = getattr(model, "vision_model", None)
    if not isinstance(tower, nn.Module):
        raise TeacherError(
            f"{type(model).__name__} takes {', '.join(list(takes)[:3])}, …, not images alone. Name "
            "the class of its vision part as auto_class, or another model."
        )
    return tower


def _only_size(model: nn.Module) -> Size | None:
    """The one size that a model takes where its position embeddings are not interpolated."""
    for module in model.modules():
        positions = getattr(module, "position_embeddings", None)
        positions = getattr(module, "position_embedding", None) if positions is None else positions
        choice = inspect.signature(module.forward).parameters.get("interpolate_pos_encoding")
        own: Any = getattr(module, "image_size", None)
        if positions is not None and choice is not None and choice.default is False and own:
            return (own, own) if isinstance(own, int) else (own[0], own[1])
    return None


def _read(processor: Any, size: Size | None) -> Preprocessing:
    """What an image processor does, apart from the resizing."""
    # It is given bytes, and may leave them as they are.
    factor = processor.rescale_factor if getattr(processor, "do_rescale", True) else 1.0
    unit = 1 / (255.0 * float(factor))
    offset = unit if getattr(processor, "rescale_offset", False) else 0.0
    mean: tuple[float, ...] = (offset,)
    std: tuple[float, ...] = (unit,)
    if getattr(processor, "do_normalize", False):
        mean = tuple(offset + unit * m for m in processor.image_mean)
        std = tuple(unit * s for s in processor.image_std)
    if getattr(processor, "include_top", False):  # EfficientNet's divides, once more
        mean, std = mean * (3 // len(mean)), std * (3 // len(std))
        std = tuple(s * t for s, t in zip(std, processor.image_std, strict=True))
    flipped = bool(getattr(processor, "do_flip_channel_order", False))
    norm = ImageNorm(*(numbers[::-1] if flipped else numbers for numbers in (mean, std)))
    return Preprocessing(
        norm, size, _size_in(processor), "bgr" if flipped else "rgb", made_for=_ANOTHER
    )


def _size_in(processor: Any) -> Size | None:
    """The size that an image processor gives its images, where it is one."""
    cropped = getattr(processor, "do_center_crop", False)
    asked: Any = getattr(processor, "crop_size" if cropped else "size", None)
    if not hasattr(asked, "get"):
        return None
    height, width = asked.get("height"), asked.get("width")
    return (int(height), int(width)) if height and width else None
