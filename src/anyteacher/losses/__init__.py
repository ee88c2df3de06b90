"""Feature losses: pure functions of two features, and thin modules that hold their settings."""

from anyteacher.losses.attention import AT, CWD, attention_transfer, channel_wise
from anyteacher.losses.base import (
    DIRECTIONS,
    BatchLoss,
    Direction,
    FeatureLoss,
    LevelLoss,
    LogitLoss,
    Loss,
)
from anyteacher.losses.channel import ICKD, NST, inter_channel_correlation, neuron_selectivity
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
    "AT",
    "CWD",
    "DIRECTIONS",
    "FSP",
    "HCL",
    "ICKD",
    "MSE",
    "NST",
    "BatchLoss",
    "Cosine",
    "Direction",
    "FeatureLoss",
    "LevelLoss",
    "LogSum",
    "LogitLoss",
    "Loss",
    "SmoothL1",
    "attention_transfer",
    "channel_wise",
    "cosine",
    "fsp",
    "hcl",
    "inter_channel_correlation",
    "log_sum",
    "mse",
    "neuron_selectivity",
    "smooth_l1",
]
