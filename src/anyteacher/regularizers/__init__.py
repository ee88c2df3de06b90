"""Losses of the student's features alone: distillation without a teacher.

An inverted projector of rank r leaves the energy of the student's features outside r directions to
be reduced, and the teacher has no part in that (`spectral.decompose`). These losses do the same, or
something like it, without a teacher or a projector.

Source: Auty, Miles, Kolbeinsson and Mikolajczyk, "Learning to Project for Cross-Task Knowledge
Distillation", arXiv 2403.14494, 2024, who derive a loss without a teacher from the inverted
projector. The forms and the derivation here are this project's own.
"""

from anyteacher.regularizers.base import Regularizer
from anyteacher.regularizers.trailing import TrailingEnergy
from anyteacher.regularizers.whole import EffectiveRank, LogDet, NuclearNorm

__all__ = ["EffectiveRank", "LogDet", "NuclearNorm", "Regularizer", "TrailingEnergy"]
