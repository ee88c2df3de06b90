"""Feature losses: pure functions of two features, and thin modules that hold their settings."""

from anyteacher.losses.base import FeatureLoss
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
    "MSE",
    "Cosine",
    "FeatureLoss",
    "LogSum",
    "SmoothL1",
    "cosine",
    "log_sum",
    "mse",
    "smooth_l1",
]
