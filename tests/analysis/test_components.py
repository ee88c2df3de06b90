import pytest
import torch

from anyteacher.analysis import principal
from anyteacher.layout import to_rows


def of(rows, like=None):
    centred = rows - rows.mean(0)
    return principal(rows.mean(0), centred.mT @ centred, len(rows), like)


@pytest.fixture
def planes():
    """Three uncorrelated patterns of falling strength, (b, 3, h, w), centred and of unit energy."""
    rows = torch.randn(2 * 5 * 4, 3, dtype=torch.float64)
    rows = torch.linalg.qr(rows - rows.mean(0)).Q * 40**0.5
    return rows.reshape(2, 5, 4, 3).permute(0, 3, 1, 2)


@pytest.fixture
def maps(planes):
    """A map of eight channels and rank three."""
    basis = torch.linalg.qr(torch.randn(8, 3, dtype=torch.float64)).Q
    weights = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)
    return torch.einsum("bkhw,ck->bchw", planes * weights[:, None, None], basis) + 5.0


def test_a_map_of_rank_three_is_its_three_patterns(planes, maps):
    found = of(to_rows(maps))
    assert torch.allclose(found.shares, torch.tensor([16.0, 4.0, 1.0]).double() / 21)
    assert float(found.deviation) == pytest.approx(4.0)
    scores = found.of(maps)
    for place, size in enumerate([1.0, 0.5, 0.25]):  # in units of the first one's deviation
        mine, theirs = scores[:, place], size * planes[:, place]
        sign = torch.sign((mine * theirs).sum())
        assert torch.allclose(sign * mine, theirs, atol=1e-10)


def test_the_largest_entry_of_a_direction_is_positive(maps):
    found = of(to_rows(maps)).directions
    largest = found.gather(0, found.abs().argmax(0, keepdim=True))
    assert bool((largest > 0).all())
    assert torch.allclose(of(-to_rows(maps)).directions, found)


def test_signs_follow_another_feature(planes, maps):
    rows = to_rows(maps)
    other = to_rows(-planes)
    signed = of(rows, other.mT @ (rows - rows.mean(0))).of(maps)
    assert bool(((signed * -planes).sum((0, 2, 3)) > 0).all())


@pytest.mark.parametrize("width", [1, 2])
def test_narrow_features_have_zeros_for_what_is_missing(width):
    rows = torch.randn(12, width, dtype=torch.float64)
    found = of(rows)
    assert found.directions.shape == (width, 3)
    assert float(found.shares.sum()) == pytest.approx(1.0)
    drawn = found.of(rows.reshape(1, 3, 4, width).permute(0, 3, 1, 2))
    assert bool((drawn[:, width:] == 0).all())


def test_constant_features_are_zeros():
    maps = torch.full((1, 4, 2, 2), 3.0, dtype=torch.float64)
    found = of(to_rows(maps))
    assert found.of(maps).abs().max() == 0
    assert found.shares.tolist() == [0.0] * 3
