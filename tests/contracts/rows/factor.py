"""Losses between factors."""

from anyteacher.losses import FactorTransfer
from rows.base import Row

ROWS = {
    FactorTransfer: Row(lambda: FactorTransfer(reconstruction=1.0), at_equality=None),
}
