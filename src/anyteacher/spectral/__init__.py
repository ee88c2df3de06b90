"""Functions of a feature matrix's singular values, and what a linear projector does with them.

A feature matrix Z is (n, d), one row for each image or position. Everything here needs Z only
through its Gram matrix, so it costs a product of n d^2, works for any number of rows, and adds up
over batches and processes.
"""

from anyteacher.spectral.decomposition import (
    Decomposition,
    Projected,
    decompose,
    decompose_moments,
)
from anyteacher.spectral.moments import Moments, closed_form, closed_form_moments
from anyteacher.spectral.spectrum import (
    effective_rank,
    effective_rank_of,
    log_det,
    nuclear_norm,
    tracked_trailing_energy,
    trailing_energy,
)
from anyteacher.spectral.subspace import top_subspace, tracks

__all__ = [
    "Decomposition",
    "Moments",
    "Projected",
    "closed_form",
    "closed_form_moments",
    "decompose",
    "decompose_moments",
    "effective_rank",
    "effective_rank_of",
    "log_det",
    "nuclear_norm",
    "top_subspace",
    "tracked_trailing_energy",
    "tracks",
    "trailing_energy",
]
