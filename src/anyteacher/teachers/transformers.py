"""Teachers of transformers."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anyteacher.errors import TeacherError, did_you_mean, require
from anyteacher.layout import Size
from anyteacher.normalization import IMAGENET, ImageNorm
from anyteacher.teachers.named import (
    PRETRAINED,
    LibraryTeacher,
    Preprocessing,
    find,
    unknown_preprocessing,
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
        auto = getattr(transformers, auto_class, None)
        if auto is None:
            known = [entry for entry in dir(transformers) if entry.startswith("Auto")]
            raise TeacherError(
                f"transformers has no '{auto_class}'. {did_you_mean(auto_class, known)}"
            )

        def build(pretrained: bool) -> nn.Module:
            if pretrained:
                return _tower(auto.from_pretrained(name))
            if hasattr(auto, "from_config"):
                own = _configuration(transformers, config)
                return _tower(
                    auto.from_config(own or transformers.AutoConfig.from_pretrained(name))
                )
            own = _configuration(transformers, config)  # a class of one kind of model
            return _tower(auto(own or auto.config_class.from_pretrained(name)))

        def describe(model: nn.Module) -> Preprocessing:
            size = _only_size(model)
            if config is not None:
                return Preprocessing(IMAGENET, size)
            try:
                processor = transformers.AutoImageProcessor.from_pretrained(name)
            except OSError as error:
                if norm is None:
                    raise unknown_preprocessing(name, error) from error
                return Preprocessing(norm, size)
            return _read(processor, size)

        found = find(build, describe, name=name, weights=weights, seed=seed)
        super().__init__(found, norm=norm, size=size, dtype=dtype, stop_early=stop_early)


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
    scale = 255.0 * float(factor)
    mean, std = (0.0,), (1.0,)
    if getattr(processor, "do_normalize", False):
        mean, std = tuple(processor.image_mean), tuple(processor.image_std)
    flipped = bool(getattr(processor, "do_flip_channel_order", False))
    if flipped:
        mean, std = mean[::-1], std[::-1]
    norm = ImageNorm(tuple(m / scale for m in mean), tuple(s / scale for s in std))
    return Preprocessing(norm, size, _size_in(processor), "bgr" if flipped else "rgb")


def _size_in(processor: Any) -> Size | None:
    """The size that an image processor gives its images, where it is one."""
    cropped = getattr(processor, "do_center_crop", False)
    asked: Any = getattr(processor, "crop_size" if cropped else "size", None)
    if not hasattr(asked, "get"):
        return None
    height, width = asked.get("height"), asked.get("width")
    return (int(height), int(width)) if height and width else None
