"""Losses that tell images from one another."""

from anyteacher.losses import CRD, InfoNCE
from rows.base import Row

ROWS = {
    # With one image there is none to tell it from.
    InfoNCE: Row(lambda: InfoNCE(4), at_equality=None, one=False),
    # Each process draws noise of its own, so halves add up on the average alone.
    CRD: Row(lambda: CRD(10, 4, negatives=7), at_equality=None, halves_add_up=False),
}
