"""Teachers of timm."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anyteacher.errors import TeacherError, did_you_mean, require
from anyteacher.layout import Size
from anyteacher.normalization import ImageNorm
from anyteacher.teachers.named import PRETRAINED, LibraryTeacher, Preprocessing, find


class Timm(LibraryTeacher):
    """A model of timm, with the preprocessing of its own configuration.

    Args:
        name: As `timm.list_models` has it.
        weights: "pretrained" from the hub, "random" from the seed, or the path of a checkpoint.
        seed: For random weights.
        settings: Further keyword arguments of `timm.create_model`.
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
        settings: Mapping[str, Any] | None = None,
        norm: ImageNorm | None = None,
        size: Size | None = None,
        dtype: torch.dtype | str | None = None,
        stop_early: bool = True,
    ) -> None:
        timm = require("timm")
        if not timm.is_model(name.partition(".")[0].removeprefix("hf-hub:")) and ":" not in name:
            raise TeacherError(
                f"timm has no model '{name}'. {did_you_mean(name, timm.list_models())}"
            )

        def build(pretrained: bool) -> nn.Module:
            model: nn.Module = timm.create_model(name, pretrained=pretrained, **(settings or {}))
            return model

        def describe(model: nn.Module) -> Preprocessing:
            config = timm.data.resolve_model_data_config(model)
            own = ImageNorm(tuple(config["mean"]), tuple(config["std"]))
            trained_at = tuple(config["input_size"][1:])
            # Plain transformers take the size they were made for; others that need one size say
            # so in their configuration.
            patches: Any = getattr(model, "patch_embed", None)
            if hasattr(patches, "strict_img_size"):
                fixed = tuple(patches.img_size) if patches.strict_img_size else None
                return Preprocessing(own, fixed, trained_at)
            fixed = getattr(model, "default_cfg", {}).get("fixed_input_size", False)
            return Preprocessing(own, trained_at if fixed else None, trained_at)

        found = find(build, describe, name=name, weights=weights, seed=seed)
        super().__init__(found, norm=norm, size=size, dtype=dtype, stop_early=stop_early)
