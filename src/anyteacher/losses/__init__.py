"""Feature losses: pure functions of two features, and thin modules that hold their settings."""

from anyteacher.losses.base import (
    DIRECTIONS,
    BatchLoss,
    Direction,
    FeatureLoss,
    LevelLoss,
    LogitLoss,
    Loss,
)
from anyteacher.losses.levels import FSP, HCL, fsp, hcl
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

__all__ = [
    "DIRECTIONS",
    "FSP",
    "HCL",
    "MSE",
    "BatchLoss",
    "Cosine",
    "Direction",
    "FeatureLoss",
    "LevelLoss",
    "LogSum",
    "LogitLoss",
    "Loss",
    "SmoothL1",
    "cosine",
    "fsp",
    "hcl",
    "log_sum",
    "mse",
    "smooth_l1",
]
