"""What a network sees in pictures, for the distances of sets of them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError
from anyteacher.layout import detect, to_vector
from anyteacher.recorder import Recorder
from anyteacher.taps import Tap, find_module
from anyteacher.teacher import Teacher


@dataclass(frozen=True)
class Extractor:
    """Features of pictures from a layer of any network, the mean over its positions.

    Args:
        model: The network, such as `Torchvision` with `name: inception_v3` and the path of its
            weights.
        layer: The path of the module that gives them, such as `avgpool`.

    Raises:
        ConfigError: when the network is random and would have to be calibrated.
        TapError: when it has no such module.
    """

    model: Teacher
    layer: str

    def __post_init__(self) -> None:
        find_module(self.model.model, Tap.parse(self.layer).path)
        if not self.model.calibrated:
            raise ConfigError(
                "A random network with batch normalisation has no features to measure by. Give the "
                "path of its weights."
            )

    @property
    def name(self) -> str:
        """The class of the network and the layer."""
        return f"{type(self.model.model).__name__}.{self.layer}"

    @torch.no_grad()
    def __call__(self, pictures: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """The features of pictures in [0, 1]."""
        tap = Tap.parse(self.layer)
        if self.model.device != pictures.device:
            self.model.to(pictures.device)
        images = self.model.prepare(pictures)
        recorder = Recorder(self.model.model, [tap])
        try:
            with self.model.precision(images):
                feature = recorder.probe(images, stop_early=True)[tap]
        finally:
            recorder.remove()
        size = (images.shape[-2], images.shape[-1])
        module = find_module(self.model.model, tap.path)
        return to_vector(feature, detect(feature.shape, size, module)).float()
