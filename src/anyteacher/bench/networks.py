"""The networks of the benchmark by name, and where they are tapped."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from anyteacher.errors import ConfigError, did_you_mean

Tap = Literal["deep", "middle"]


@dataclass(frozen=True)
class Network:
    """A model as the settings of a run name it.

    Attributes:
        class_path: Its import path.
        outputs: The argument that takes the number of output channels.
        taps: Module paths: `deep`, the last features before the head or the decoder, and `middle`,
            those of twice the resolution, or of half the depth where all have the same.
        settings: Further arguments.
        inputs: The argument that takes the number of image channels; empty where it takes three.
        bias: Whether it takes `bias`, what the untrained head gives.
    """

    class_path: str
    outputs: str
    taps: Mapping[Tap, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: str = ""
    bias: bool = False

    def config(self, outputs: int, inputs: int, bias: float = 0.0) -> dict[str, Any]:
        """The settings that build it."""
        arguments = {self.outputs: outputs, **self.settings}
        if self.inputs:
            arguments[self.inputs] = inputs
        if self.bias and bias:
            arguments["bias"] = bias
        return {"class_path": self.class_path, "init_args": arguments}


def _encoder_decoder(width: int) -> Network:
    return Network(
        "anyteacher.models.EncoderDecoder",
        "out_channels",
        {"deep": "encoder.3", "middle": "encoder.2"},
        {"width": width},
        inputs="in_channels",
        bias=True,
    )


def _convnet(*widths: int) -> Network:
    last = len(widths) - 1
    return Network(
        "anyteacher.models.ConvNet",
        "classes",
        {"deep": f"stages.{last}", "middle": f"stages.{last - 1}"},
        {"widths": list(widths)},
        inputs="in_channels",
    )


def _unet(encoder: str, deep: str, middle: str) -> Network:
    return Network(
        "segmentation_models_pytorch.Unet",
        "classes",
        {"deep": f"encoder.{deep}", "middle": f"encoder.{middle}"},
        {"encoder_name": encoder, "encoder_weights": None},
    )


def _dpt(encoder: str) -> Network:
    return Network(
        "segmentation_models_pytorch.DPT",
        "classes",
        {"deep": "encoder.model.blocks.11", "middle": "encoder.model.blocks.5"},
        {"encoder_name": f"tu-{encoder}", "encoder_weights": None},
    )


def _vit(width: int, heads: int) -> Network:
    return Network(
        "torchvision.models.VisionTransformer",
        "num_classes",
        {"deep": "encoder.layers.encoder_layer_11", "middle": "encoder.layers.encoder_layer_5"},
        {
            "image_size": 224,
            "patch_size": 16,
            "num_layers": 12,
            "num_heads": heads,
            "hidden_dim": width,
            "mlp_dim": 4 * width,
        },
    )


def _torchvision(name: str, deep: str, middle: str) -> Network:
    return Network(
        f"torchvision.models.{name}", "num_classes", {"deep": deep, "middle": middle}, {}
    )


Kind = Literal["dense", "global", "digits"]

NETWORKS: dict[Kind, dict[str, Network]] = {
    "dense": {
        "tiny": _encoder_decoder(4),
        "small": _encoder_decoder(16),
        "large": _encoder_decoder(32),
        "resnet18": _unet("resnet18", "layer4", "layer3"),
        "mobilenet_v2": _unet("mobilenet_v2", "features.18", "features.13"),
        "vit_small": _dpt("vit_small_patch16_224.augreg_in21k"),
        "vit_base": _dpt("vit_base_patch16_224.augreg_in21k"),
    },
    "global": {
        "tiny": _convnet(4, 8, 12),
        "small": _convnet(16, 32, 64, 96),
        "large": _convnet(32, 64, 128, 192),
        "resnet18": _torchvision("resnet18", "layer4", "layer3"),
        "mobilenet_v2": _torchvision("mobilenet_v2", "features.18", "features.13"),
        "vit_small": _vit(384, heads=6),
        "vit_base": _vit(768, heads=12),
    },
    "digits": {
        "tiny": _convnet(4, 8, 12),
        "small": _convnet(16, 32, 64),
        "large": _convnet(32, 64, 256),
    },
}
"""By what they give: one prediction a pixel, or an image, or an image of 8 x 8; then by name."""


def network(kind: Kind, name: str) -> Network:
    """A network by name.

    Raises:
        ConfigError: when there is none of this name.
    """
    known = NETWORKS[kind]
    if name not in known:
        raise ConfigError(f"There is no {kind} network '{name}'. {did_you_mean(name, known)}")
    return known[name]
