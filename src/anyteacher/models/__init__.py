"""Small models for the built-in data. Any other model comes by its import path."""

from anyteacher.models.convnet import ConvNet
from anyteacher.models.encoder_decoder import EncoderDecoder

__all__ = ["ConvNet", "EncoderDecoder"]
