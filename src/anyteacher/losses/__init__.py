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
from anyteacher.losses.contrastive import CRD, InfoNCE, info_nce, nce
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
    "CRD",
    "DIRECTIONS",
    "DIST",
    "DKD",
    "KD",
    "MSE",
    "BatchLoss",
    "Cosine",
    "Direction",
    "FeatureLoss",
    "InfoNCE",
    "LevelLoss",
    "LogSum",
    "LogitLoss",
    "Loss",
    "SmoothL1",
    "StandardizedKD",
    "cosine",
    "dist",
    "dkd",
    "info_nce",
    "kd",
    "log_sum",
    "mse",
    "nce",
    "smooth_l1",
    "standardized_kd",
]
