"""Feature losses: pure functions of two features, and thin modules that hold their settings."""

from anyteacher.losses.activation import AB, OFD, activation_boundary, partial_l2
from anyteacher.losses.base import (
    DIRECTIONS,
    BatchLoss,
    Direction,
    FeatureLoss,
    LevelLoss,
    LogitLoss,
    Loss,
)
from anyteacher.losses.factor import FactorTransfer, factor_transfer
from anyteacher.losses.generation import MGD, masked_generation
from anyteacher.losses.pointwise import (
    MSE,
    Cosine,
    LogSum,
    SmoothL1,
    cosine,
    log_sum,
    mse,
    smooth_l1,
)
from anyteacher.losses.variational import VID, variational_information

__all__ = [
    "AB",
    "DIRECTIONS",
    "MGD",
    "MSE",
    "OFD",
    "VID",
    "BatchLoss",
    "Cosine",
    "Direction",
    "FactorTransfer",
    "FeatureLoss",
    "LevelLoss",
    "LogSum",
    "LogitLoss",
    "Loss",
    "SmoothL1",
    "activation_boundary",
    "cosine",
    "factor_transfer",
    "log_sum",
    "masked_generation",
    "mse",
    "partial_l2",
    "smooth_l1",
    "variational_information",
]
