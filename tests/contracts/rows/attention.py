"""Losses that compare where the features are strong."""

from functools import partial

from anyteacher.losses import AT, CWD, attention_transfer, channel_wise
from rows.base import Row

ROWS = {
    AT: Row(AT, attention_transfer),
    CWD: Row(lambda: CWD(2.0), partial(channel_wise, temperature=2.0)),
}
