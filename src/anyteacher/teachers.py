"""Teachers by name: from timm, torchvision and transformers, and from no training at all."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anyteacher.errors import TeacherError, did_you_mean, require
from anyteacher.layout import Size
from anyteacher.normalization import IMAGENET, ImageNorm
from anyteacher.seeding import forked
from anyteacher.teacher import BatchNorm, Teacher

PRETRAINED, RANDOM = "pretrained", "random"


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
        self.calibrated = not _has_batch_norm(model)


class _Named(Teacher):
    """What the teachers by name share: pretrained, random or from a file."""

    def __init__(
        self,
        build: Callable[[bool], nn.Module],
        describe: Callable[[nn.Module], tuple[ImageNorm | None, Size | None]],
        *,
        name: str,
        weights: str | Path,
        seed: int,
        size: Size | None,
        dtype: torch.dtype | str | None,
        stop_early: bool,
    ) -> None:
        pretrained = weights == PRETRAINED
        try:
            with forked(seed):
                model = build(pretrained)
            norm, own_size = describe(model)
        except (OSError, RuntimeError, ValueError) as error:
            # A hub that cannot be reached (OSError), or has no such weights (the other two).
            if not pretrained and not isinstance(error, OSError):
                raise
            what = "pretrained weights" if pretrained else "configuration"
            raise TeacherError(
                f"The {what} of '{name}' could not be had "
                f"({type(error).__name__}: {str(error).strip().splitlines()[0]}). Give a local "
                'file as weights="path/to/file", or weights="random".'
            ) from error
        file = None if weights in (PRETRAINED, RANDOM) else weights
        super().__init__(
            model,
            weights=file,
            norm=norm,
            size=size or own_size,
            dtype=dtype,
            stop_early=stop_early,
        )
        self.calibrated = weights != RANDOM or not _has_batch_norm(model)


class Timm(_Named):
    """A model of timm, with the preprocessing of its own configuration.

    Args:
        name: As `timm.list_models` has it.
        weights: "pretrained" from the hub, "random" from the seed, or the path of a checkpoint.
        seed: For random weights.
        settings: Further keyword arguments of `timm.create_model`.
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

        def describe(model: nn.Module) -> tuple[ImageNorm | None, Size | None]:
            config = timm.data.resolve_model_data_config(model)
            norm = ImageNorm(tuple(config["mean"]), tuple(config["std"]))
            # Plain transformers take the size they were made for; others that need one size say
            # so in their configuration.
            patches: Any = getattr(model, "patch_embed", None)
            if hasattr(patches, "strict_img_size"):
                return norm, tuple(patches.img_size) if patches.strict_img_size else None
            fixed = getattr(model, "default_cfg", {}).get("fixed_input_size", False)
            return norm, tuple(config["input_size"][1:]) if fixed else None

        super().__init__(
            build,
            describe,
            name=name,
            weights=weights,
            seed=seed,
            size=size,
            dtype=dtype,
            stop_early=stop_early,
        )


class Torchvision(_Named):
    """A model of torchvision, normalised as on ImageNet.

    Args:
        name: As `torchvision.models.list_models` has it.
        weights: "pretrained" for torchvision's default ones, "random" from the seed, or the path
            of a checkpoint.
        seed: For random weights.
        settings: Further keyword arguments of the model.
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
            model: nn.Module = models.get_model(
                name, weights="DEFAULT" if pretrained else None, **(settings or {})
            )
            return model

        def describe(model: nn.Module) -> tuple[ImageNorm | None, Size | None]:
            fixed = getattr(model, "image_size", None)  # its vision transformers
            return IMAGENET, (fixed, fixed) if isinstance(fixed, int) else None

        super().__init__(
            build,
            describe,
            name=name,
            weights=weights,
            seed=seed,
            size=size,
            dtype=dtype,
            stop_early=stop_early,
        )


class Transformers(_Named):
    """A vision model of transformers, with the normalisation of its image processor.

    Args:
        name: A model of the hub, or a local folder.
        weights: "pretrained" (from the hub or the folder), "random" from its configuration and
            the seed, or the path of a checkpoint.
        seed: For random weights.
        config: A configuration object in place of the one found under the name; for random
            weights or a checkpoint.
        auto_class: The class of transformers that makes the model, such as `AutoModel`,
            `AutoBackbone` or `AutoModelForDepthEstimation`.
        size: Height and width to resize to; None for the images' own size.
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
                loaded: nn.Module = auto.from_pretrained(name)
                return loaded
            own = config or transformers.AutoConfig.from_pretrained(name)
            made: nn.Module = auto.from_config(own)
            return made

        def describe(model: nn.Module) -> tuple[ImageNorm | None, Size | None]:
            if config is not None:
                return IMAGENET, None
            processor = transformers.AutoImageProcessor.from_pretrained(name)
            return ImageNorm(tuple(processor.image_mean), tuple(processor.image_std)), None

        super().__init__(
            build,
            describe,
            name=name,
            weights=weights,
            seed=seed,
            size=size,
            dtype=dtype,
            stop_early=stop_early,
        )


def _has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, BatchNorm) for module in model.modules())
