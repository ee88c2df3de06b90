import math

import pytest
import torch

from anyteacher.tasks.mixing import beta, cutmix, mixed, mixup


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_shares_are_distributed_as_beta(alpha: float) -> None:
    draws = torch.tensor([beta(alpha) for _ in range(4000)], dtype=torch.float64)
    assert ((draws >= 0) & (draws <= 1)).all()
    # The mean and variance of Beta(a, a).
    assert float(draws.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(draws.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.06)


@pytest.mark.parametrize("alpha", [1e-4, 1e-300])
def test_shares_of_a_small_alpha_lie_at_the_ends(alpha: float) -> None:
    draws = torch.tensor([beta(alpha) for _ in range(400)], dtype=torch.float64)
    ends = torch.minimum(draws, 1 - draws)
    assert (ends < 1e-6).double().mean() > 0.98
    assert float(draws.mean()) == pytest.approx(0.5, abs=0.1)


def test_mixup_by_hand() -> None:
    a, b = torch.full((1, 1, 2, 2), 0.2), torch.full((1, 1, 2, 2), 1.0)
    torch.testing.assert_close(mixup(a, b, 0.75), torch.full((1, 1, 2, 2), 0.4))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_cutmix_pastes_one_box_and_says_what_is_left(share: float) -> None:
    height, width = 20, 30
    sides = round(math.sqrt(1 - share) * height), round(math.sqrt(1 - share) * width)
    sizes = set()
    for _ in range(100):
        images, left = cutmix(torch.zeros(2, 3, 20, 30), torch.ones(2, 3, 20, 30), share)
        assert float(images.mean()) == pytest.approx(1 - left)
        assert torch.equal(images[0], images[1])
        places = images[0, 0].nonzero()
        if len(places):
            low, high = places.min(0).values, places.max(0).values + 1
            assert (high - low).prod() == len(places)  # it is a full box
            sizes.add(tuple((high - low).tolist()))
    # Boxes that hang over the border are smaller, and none is larger.
    assert all(h <= sides[0] and w <= sides[1] for h, w in sizes)
    if 0.1 < share < 1:
        assert sides in sizes
    assert len(sizes) > 1 or share == 1


def test_with_a_margin_the_box_and_the_share_are_those_of_the_middle() -> None:
    shares = set()
    for share in (0.1, 0.3, 0.6, 0.9):
        for _ in range(20):
            images, left = cutmix(torch.zeros(1, 1, 20, 26), torch.ones(1, 1, 20, 26), share, 4)
            middle = images[..., 4:-4, 4:-4]
            assert float(middle.mean()) == pytest.approx(1 - left)
            assert images.sum() == middle.sum()
            shares.add(left)
    assert len(shares) > 20


def test_images_and_classes_are_mixed_with_the_same_partner_in_the_same_shares() -> None:
    labels = torch.arange(6)
    images = torch.zeros(6, 6, 8, 8)  # channel k shows class k
    images[torch.arange(6), labels] = 1
    kinds = set()
    for alphas in [(1.0, 0.0), (0.0, 1.0)] + [(1.0, 1.0)] * 10:
        made, shares = mixed(images, labels, 6, alphas)
        torch.testing.assert_close(made.mean((2, 3)), shares)
        torch.testing.assert_close(shares.sum(1), torch.ones(6))
        kinds.add("cut" if set(made.unique().tolist()) <= {0.0, 1.0} else "mix")
        if alphas == (1.0, 0.0):
            assert kinds == {"mix"}
    assert kinds == {"cut", "mix"}
    assert images.sum() == 6 * 64  # what was given is left alone


def test_draws_come_from_the_global_generator() -> None:
    images, labels = torch.rand(5, 3, 8, 8), torch.arange(5)
    made = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        made.append(mixed(images, labels, 5, (0.5, 0.5))[0])
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
