"""Losses of the relations between channels, and of what they select."""

from anyteacher.losses import ICKD, NST, inter_channel_correlation, neuron_selectivity
from rows.base import Row

ROWS = {
    ICKD: Row(ICKD, inter_channel_correlation),
    NST: Row(NST, neuron_selectivity),
}
