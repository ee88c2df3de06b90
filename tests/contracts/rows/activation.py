"""Losses on responses before their ReLU."""

from functools import partial

from anyteacher.losses import AB, OFD, activation_boundary
from rows.base import Row

ROWS = {
    AB: Row(lambda: AB(0.5), partial(activation_boundary, margin=0.5), at_equality=None),
    OFD: Row(OFD),
}
