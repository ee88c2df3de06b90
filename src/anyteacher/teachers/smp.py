"""Teachers of segmentation_models_pytorch."""

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
    RANDOM,
    LibraryTeacher,
    Preprocessing,
    find,
    keywords,
    unknown_preprocessing,
)
from anyteacher.teachers.untrained import random_weights
from anyteacher.weights import load_weights

# Encoders whose published weights want another normalisation than ImageNet's mean and std.
_OTHERWISE = ("dpn", "inception", "xception")


class SegmentationModels(LibraryTeacher):
    """A model of segmentation_models_pytorch, with the preprocessing of its encoder.

    Most take only heights and widths that 32 divides.

    Args:
        name: An architecture, such as "unet", whose decoder nobody has trained; or a whole trained
            model: one of the hub, such as "smp-hub/segformer-b0-512x512-ade-160k", or a local
            folder that `save_pretrained` has written.
        encoder: Of an architecture, such as "resnet34", or "tu-NAME" for those of timm.
        weights: "pretrained" (of an architecture the encoder, its decoder being random), "random"
            from the seed, or the path of a checkpoint.
        seed: For random weights.
        settings: A mapping of further keyword arguments of the model, such as `classes`.
        norm: In place of the normalisation of its encoder.
        size: Height and width to resize to; None for the images' own size.
        dtype: See `Teacher`.
        stop_early: See `Teacher`.
    """

    def __init__(
        self,
        name: str,
        *,
        encoder: str = "resnet34",
        weights: str | Path = PRETRAINED,
        seed: int = 0,
        settings: Mapping[str, Any] | Any = None,
        norm: ImageNorm | None = None,
        size: Size | None = None,
        dtype: torch.dtype | str | None = None,
        stop_early: bool = True,
    ) -> None:
        smp = require("segmentation_models_pytorch")
        given = keywords(settings)
        whole = "/" in name or Path(name).is_dir()
        if not whole:
            _check_names(smp, name, encoder)
        elif weights != PRETRAINED:
            raise TeacherError(
                f"'{name}' is a whole model with its own weights, and weights='{weights}' is given "
                "beside it. Name an architecture such as 'unet' with its encoder instead."
            )

        def build(source: str | Path) -> nn.Module:
            if whole:
                model: nn.Module = smp.from_pretrained(name, **{"encoder_weights": None, **given})
                return model
            own = {"encoder_name": encoder, "encoder_weights": None}
            if source == PRETRAINED:
                own["encoder_weights"] = _weights_of(smp, encoder)
            made: nn.Module = smp.create_model(name, **{**own, **given})
            if source not in (PRETRAINED, RANDOM):
                load_weights(made, source)
            return made

        def describe(model: nn.Module) -> Preprocessing:
            if norm is not None:
                return Preprocessing(norm)
            used: Any = model.config["encoder_name"] if whole else encoder  # type: ignore[index]
            if weights != PRETRAINED and not _known_here(used):
                return _assumed(used, trained=weights != RANDOM)
            try:
                known = _weights_of(smp, used)
                return _read(smp.encoders.get_preprocessing_params(used, pretrained=known))
            except OSError as error:
                raise unknown_preprocessing(used, error) from error

        way = {"way": "Name a local folder that has it."} if whole else {}
        found = find(build, describe, name=name, weights=weights, seed=seed, **way)
        super().__init__(found, norm=norm, size=size, dtype=dtype, stop_early=stop_early)
        if weights == PRETRAINED and not whole:
            self.origin = (
                f"pretrained weights of its encoder, and a decoder with {random_weights(seed)}"
            )


def _check_names(smp: Any, name: str, encoder: str) -> None:
    architectures = list(smp.MODEL_ARCHITECTURES_MAPPING)
    if name.lower() not in architectures:
        raise TeacherError(
            f"segmentation_models_pytorch has no architecture '{name}'. "
            f"{did_you_mean(name, architectures)}"
        )
    timm = require("timm")
    encoders = smp.encoders.get_encoder_names()
    of_timm = encoder.startswith("tu-") and timm.is_model(encoder[3:].partition(".")[0])
    if encoder not in encoders and not of_timm:
        raise TeacherError(
            f"segmentation_models_pytorch has no encoder '{encoder}'. "
            f"{did_you_mean(encoder, encoders)} Those of timm are written tu-NAME."
        )


def _weights_of(smp: Any, encoder: str) -> Any:
    """What the library calls the pretrained weights of an encoder: ImageNet's, or its first."""
    if encoder.startswith("tu-"):
        return True
    known = list(smp.encoders.encoders[encoder]["pretrained_settings"])
    return "imagenet" if "imagenet" in known else known[0]


def _known_here(encoder: str) -> bool:
    """Whether an encoder's normalisation is known without the hub, as timm's are."""
    models = require("timm").models
    return encoder.startswith("tu-") and bool(models.is_model_pretrained(encoder[3:]))


def _assumed(encoder: str, *, trained: bool) -> Preprocessing:
    """ImageNet's normalisation, without a question to the hub, which alone knows an encoder's own.

    Raises:
        TeacherError: when a trained encoder is of those that have another one.
    """
    if trained and encoder.startswith(_OTHERWISE):
        raise TeacherError(
            f"A trained '{encoder}' has a normalisation of its own, which its file does not hold. "
            "State it: norm=ImageNorm(mean, std)."
        )
    return Preprocessing(IMAGENET)


def _read(settings: Mapping[str, Any]) -> Preprocessing:
    """The library's own words for a preprocessing; it reverses the channels, then normalises."""
    top = float(settings["input_range"][1])
    mean, std = (tuple(float(v) / top for v in settings[name]) for name in ("mean", "std"))
    reversed_ = settings["input_space"] == "BGR"
    if reversed_:
        mean, std = mean[::-1], std[::-1]
    return Preprocessing(ImageNorm(mean, std), order="bgr" if reversed_ else "rgb")
