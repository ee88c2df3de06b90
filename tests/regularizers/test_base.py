"""What all have in common; values and gradients are in the contracts."""

import sys

import pytest
import torch

from anyteacher.errors import LayoutError
from anyteacher.regularizers import EffectiveRank, LogDet


@pytest.mark.skipif(sys.platform == "win32", reason="gloo's files need a POSIX system")
def test_unequal_parts_give_the_gradients_of_the_whole_batch(tmp_path, program):
    """In two and in three processes, some of which have no row at all."""
    assert program("spectral_parallel.py", tmp_path).split() == [
        "9-4",
        "1-20",
        "0-12",
        "2-9-5",
        "7-0-1",
    ]


def test_one_that_needs_two_rows_says_so():
    rank = EffectiveRank()
    rank.build(10)
    with pytest.raises(LayoutError, match=r"more positions\.$"):
        rank(torch.randn(1, 10))


def test_one_that_was_not_built_says_how():
    with pytest.raises(LayoutError, match=r"LogDet was not built .* Call build\(10\) for it first"):
        LogDet()(torch.randn(40, 10))
