"""Losses of relations between images."""

from functools import partial

from anyteacher.losses import (
    CC,
    CKA,
    PKT,
    SP,
    RKDAngle,
    RKDDistance,
    cka,
    correlation_congruence,
    pkt,
    rkd_angle,
    rkd_distance,
    similarity_preserving,
)
from rows.base import Row

ROWS = {
    SP: Row(SP, similarity_preserving, fewest=2),
    RKDDistance: Row(RKDDistance, rkd_distance, fewest=3),
    RKDAngle: Row(RKDAngle, rkd_angle, fewest=3),
    PKT: Row(lambda: PKT(1e-5), partial(pkt, eps=1e-5), fewest=2),
    CC: Row(lambda: CC(0.7, 3), partial(correlation_congruence, gamma=0.7, order=3), fewest=2),
    CKA: Row(CKA, cka, fewest=3),
}
