"""Feature losses: pure functions of two features, and thin modules that hold their settings."""

from anyteacher.losses.alignment import CKA, cka
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
from anyteacher.losses.relational import RKDAngle, RKDDistance, rkd_angle, rkd_distance
from anyteacher.losses.similarity import (
    CC,
    PKT,
    SP,
    correlation_congruence,
    pkt,
    similarity_preserving,
)
from anyteacher.losses.singular import KDSVD, kd_svd

__all__ = [
    "AT",
    "CC",
    "CKA",
    "CWD",
    "DIRECTIONS",
    "FSP",
    "HCL",
    "ICKD",
    "KDSVD",
    "MSE",
    "NST",
    "PKT",
    "SP",
    "BatchLoss",
    "Cosine",
    "Direction",
    "FeatureLoss",
    "LevelLoss",
    "LogSum",
    "LogitLoss",
    "Loss",
    "RKDAngle",
    "RKDDistance",
    "SmoothL1",
    "attention_transfer",
    "channel_wise",
    "cka",
    "correlation_congruence",
    "cosine",
    "fsp",
    "hcl",
    "inter_channel_correlation",
    "kd_svd",
    "log_sum",
    "mse",
    "neuron_selectivity",
    "pkt",
    "rkd_angle",
    "rkd_distance",
    "similarity_preserving",
    "smooth_l1",
]
