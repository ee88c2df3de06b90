"""Feature losses: pure functions of two features, and thin modules that hold their settings."""

from anyteacher.losses.activation import AB, OFD, activation_boundary, partial_l2
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
from anyteacher.losses.contrastive import CRD, InfoNCE, info_nce, nce
from anyteacher.losses.correlations import DIST, dist
from anyteacher.losses.factor import FactorTransfer, factor_transfer
from anyteacher.losses.generation import MGD, masked_generation
from anyteacher.losses.levels import FSP, HCL, fsp, hcl
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
from anyteacher.losses.variational import VID, variational_information

__all__ = [
    "AB",
    "AT",
    "CC",
    "CKA",
    "CRD",
    "CWD",
    "DIRECTIONS",
    "DIST",
    "DKD",
    "FSP",
    "HCL",
    "ICKD",
    "KD",
    "KDSVD",
    "MGD",
    "MSE",
    "NST",
    "OFD",
    "PKT",
    "SP",
    "VID",
    "BatchLoss",
    "Cosine",
    "Direction",
    "FactorTransfer",
    "FeatureLoss",
    "InfoNCE",
    "LevelLoss",
    "LogSum",
    "LogitLoss",
    "Loss",
    "RKDAngle",
    "RKDDistance",
    "SmoothL1",
    "StandardizedKD",
    "activation_boundary",
    "attention_transfer",
    "channel_wise",
    "cka",
    "correlation_congruence",
    "cosine",
    "dist",
    "dkd",
    "factor_transfer",
    "fsp",
    "hcl",
    "info_nce",
    "inter_channel_correlation",
    "kd",
    "kd_svd",
    "log_sum",
    "masked_generation",
    "mse",
    "nce",
    "neuron_selectivity",
    "partial_l2",
    "pkt",
    "rkd_angle",
    "rkd_distance",
    "similarity_preserving",
    "smooth_l1",
    "standardized_kd",
    "variational_information",
]
