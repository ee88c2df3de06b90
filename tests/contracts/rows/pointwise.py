"""Losses that compare element by element or row by row."""

from functools import partial

from anyteacher.losses import MSE, Cosine, LogSum, SmoothL1, cosine, log_sum, mse, smooth_l1
from rows.base import Row

ROWS = {
    MSE: Row(MSE, mse),
    SmoothL1: Row(lambda: SmoothL1(0.5), partial(smooth_l1, beta=0.5)),
    Cosine: Row(Cosine, cosine),
    LogSum: Row(
        lambda: LogSum(2.0, 1e-3),
        partial(log_sum, power=2.0, eps=1e-3),
        at_equality=-13.815510557964274,  # 2 log(0.001)
    ),
}
