"""Teachers of torchvision."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anyteacher.errors import TeacherError, did_you_mean, require
from anyteacher.layout import Size
from anyteacher.normalization import ImageNorm
from anyteacher.teachers.named import PRETRAINED, LibraryTeacher, Preprocessing, find


class Torchvision(LibraryTeacher):
    """A model of torchvision, with the preprocessing that belongs to its pretrained weights.

    Detectors normalise by themselves and are given images in [0, 1].

    Args:
        name: As `torchvision.models.list_models` has it.
        weights: "pretrained" for torchvision's default ones, "random" from the seed, or the path
            of a checkpoint.
        seed: For random weights.
        settings: Further keyword arguments of the model.
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
        settings: Mapping[str, Any] | None = None,
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

        def build(pretrained: bool) -> nn.Module:
            # No weights of a backbone either, which a segmentation model would fetch by itself.
            alone = {"weights_backbone": None} if "weights_backbone" in takes else {}
            given = {"weights": "DEFAULT"} if pretrained else {"weights": None, **alone}
            model: nn.Module = models.get_model(name, **{**given, **(settings or {})})
            return model

        def describe(model: nn.Module) -> Preprocessing:
            transforms: Any = models.get_model_weights(name).DEFAULT.transforms()
            mean, std = getattr(transforms, "mean", None), getattr(transforms, "std", None)
            own = ImageNorm(tuple(mean), tuple(std)) if mean and std else ImageNorm()
            cropped = getattr(transforms, "crop_size", None) or []
            trained_at = (cropped[0], cropped[-1]) if cropped else None
            fixed = getattr(model, "image_size", None)  # its vision transformers
            return Preprocessing(
                own, (fixed, fixed) if isinstance(fixed, int) else None, trained_at
            )

        takes = inspect.signature(models.get_model_builder(name)).parameters
        found = find(build, describe, name=name, weights=weights, seed=seed)
        super().__init__(found, norm=norm, size=size, dtype=dtype, stop_early=stop_early)
