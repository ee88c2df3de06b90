"""What a network sees in pictures, for the distances of sets of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

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

    The network is made when something is first measured: a trained student predicts without it.

    Args:
        model: Makes the network, such as `Torchvision` with `name: inception_v3` and the path of
            its weights.
        layer: The path of the module that gives them, such as `avgpool`.
    """

    model: Callable[[], Teacher]
    layer: str

    @cached_property
    def network(self) -> Teacher:
        """The network.

        Raises:
            ConfigError: when it is random and would have to be calibrated.
            TapError: when it has no such layer.
        """
        network = self.model()
        find_module(network.model, Tap.parse(self.layer).path)
        if not network.calibrated:
            raise ConfigError(
                "A random network with batch normalisation has no features to measure by. Give the "
                "path of its weights."
            )
        return network

    @property
    def name(self) -> str:
        """The class of the network and the layer."""
        return f"{type(self.network.model).__name__}.{self.layer}"

    @torch.no_grad()
    def __call__(self, pictures: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """The features of pictures in [0, 1].

        Raises:
            TeacherError: when the network does not take pictures of this size.
        """
        tap, network = Tap.parse(self.layer), self.network
        if network.device != pictures.device:
            network.to(pictures.device)
        images = network.prepare(pictures)
        recorder = Recorder(network.model, [tap])
        try:
            with network.precision(images), network.explaining(images):
                feature = recorder.probe(images, stop_early=True)[tap]
        finally:
            recorder.remove()
        size = (images.shape[-2], images.shape[-1])
        module = find_module(network.model, tap.path)
        return to_vector(feature, detect(feature.shape, size, module)).float()
