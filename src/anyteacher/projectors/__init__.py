"""Projectors: from the width of one side of a link to the width of the other."""

from anyteacher.projectors.base import LevelProjector, Projector, project
from anyteacher.projectors.closed_form import ClosedForm
from anyteacher.projectors.levels import ABF
from anyteacher.projectors.linear import Identity, Linear, LowRank, Orthogonal
from anyteacher.projectors.nonlinear import MLP, Ensemble

__all__ = [
    "ABF",
    "MLP",
    "ClosedForm",
    "Ensemble",
    "Identity",
    "LevelProjector",
    "Linear",
    "LowRank",
    "Orthogonal",
    "Projector",
    "project",
]
