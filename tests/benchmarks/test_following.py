"""The table says what is in the tests of `top_subspace`, in numbers."""

import pytest
import torch
from benchmarks.following import FALLING, FLAT, FRESH, batches, distance, nearness


@pytest.mark.parametrize("kind", [FALLING, FLAT, FRESH])
def test_it_comes_near_and_is_never_below(kind):
    found = distance(kind, 16, 9, 0)
    assert all(excess >= 1 - 1e-12 for excess, _ in found)
    assert found[0] == pytest.approx((1, 1))
    assert max(excess for excess, _ in found[6:]) < 1.05
    assert min(cosine for _, cosine in found[6:]) > 0.85


def test_channels_come_to_life_at_the_second_batch():
    first, second, third = (z.detach() for z in batches(FLAT, 3, 0))
    for one, other in ((first, second), (first, third)):
        assert float(torch.linalg.matrix_norm(one @ other.mT)) < 1e-9
    assert float(torch.linalg.matrix_norm(second @ third.mT)) > 1


def test_the_table_is_whole():
    table = nearness(8, 0)
    assert len(table.rows) == 6
    assert all(len(row) == len(table.columns) for row in table.rows)
