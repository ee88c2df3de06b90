"""Losses that generate the teacher's feature."""

from anyteacher.losses import MGD
from rows.base import Row

ROWS = {
    # Halves of a batch draw other masks than the whole.
    MGD: Row(MGD, at_equality=None, halves_add_up=False),
}
