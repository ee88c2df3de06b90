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
from anyteacher.losses.correlations import DIST, dist
from anyteacher.losses.logits import (
    DKD,
    KD,
    StandardizedKD,
    dkd,
    kd,
    standardized_kd,
)
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
    "DIST",
    "DKD",
    "KD",
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
    "StandardizedKD",
    "cosine",
    "dist",
    "dkd",
    "kd",
    "log_sum",
    "mse",
    "smooth_l1",
    "standardized_kd",
]
