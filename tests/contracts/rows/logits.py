"""Losses between the logits of two models of one task."""

from functools import partial

from anyteacher.losses import (
    DIST,
    DKD,
    KD,
    StandardizedKD,
    dist,
    dkd,
    kd,
    standardized_kd,
)
from rows.base import Row

ROWS = {
    KD: Row(lambda: KD(2.0), partial(kd, temperature=2.0)),
    StandardizedKD: Row(StandardizedKD, standardized_kd),
    DKD: Row(lambda: DKD(0.5, 3.0, 2.0), partial(dkd, alpha=0.5, beta=3.0, temperature=2.0)),
    # One image has no columns to correlate. The eps is too small to be seen at equality.
    DIST: Row(
        lambda: DIST(2.0, inter=0.5, intra=2.0, eps=1e-24),
        partial(dist, temperature=2.0, inter=0.5, intra=2.0, eps=1e-24),
        one=False,
    ),
}
