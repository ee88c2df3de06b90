"""Ranks, shares, schedules and the subspace that is followed; the rest is in the contracts."""

import pytest
import torch

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.regularizers import TrailingEnergy
from anyteacher.spectral import trailing_energy


def made(*args, width=10, **settings):
    regularizer = TrailingEnergy(*args, **settings)
    regularizer.build(width)
    return regularizer


def features(rows=400, width=10):
    return torch.randn(rows, width, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(
    ("rank", "directions"),
    [(1, 1), (9, 9), (4.0, 4), (0.5, 5), (0.01, 1), (0.94, 9), (0.3, 3)],
)
def test_a_rank_is_a_number_or_a_share_of_the_width(rank, directions):
    z = features()
    assert torch.equal(made(rank)(z), trailing_energy(z, directions))


def test_maps_are_rows_for_each_position():
    x = torch.randn(4, 10, 5, 7, dtype=torch.float64)
    expected = trailing_energy(x.permute(0, 2, 3, 1).reshape(-1, 10), 2)
    torch.testing.assert_close(made(2)(x), expected)


@pytest.mark.parametrize("fraction", [False, True])
def test_settings_reach_the_function(fraction):
    z = features() + 1
    found = made(3, fraction=fraction, centre=True)(z)
    assert torch.equal(found, trailing_energy(z, 3, fraction=fraction, centre=True))


@pytest.mark.parametrize(
    ("settings", "ranks"),
    [
        ({"rank": 2, "start": 10, "steps": 4}, [10, 8, 6, 4, 2, 2]),
        ({"rank": 0.2, "start": 0.1, "steps": 2}, [1, 2, 2]),  # 1.5 is rounded to the even number
        ({"rank": 0.5, "start": 0.1, "steps": 4}, [1, 2, 3, 4, 5, 5]),
    ],
)
def test_a_schedule_is_a_straight_line_over_training_steps(settings, ranks):
    z = features()
    regularizer = made(**settings)
    for rank in ranks:
        expected = trailing_energy(z, rank)
        for _ in range(2):  # validation counts for nothing
            torch.testing.assert_close(regularizer.eval()(z), expected)
        torch.testing.assert_close(regularizer.train()(z), expected)
    assert int(regularizer.step) == len(ranks)


def test_a_share_of_the_energy_can_be_scheduled():
    z = features() * torch.logspace(0, -2, 10, dtype=torch.float64)
    regularizer = made(energy=0.5, start=0.99, steps=2)
    for share in (0.99, 0.745, 0.5, 0.5):
        torch.testing.assert_close(regularizer(z), trailing_energy(z, energy=share))


class TestFollowed:
    width, rank = 256, 16

    def drifting(self, steps):
        """Features of a spectrum whose directions turn a little at every step."""
        generator = torch.Generator().manual_seed(4)

        def draw(*shape):
            return torch.randn(*shape, dtype=torch.float64, generator=generator)

        basis = torch.linalg.qr(draw(self.width, self.width)).Q
        scales = torch.arange(1, self.width + 1, dtype=torch.float64) ** -0.7
        for _ in range(steps):
            basis = torch.linalg.qr(basis + 0.002 * draw(self.width, self.width)).Q
            yield ((draw(600, self.width) * scales) @ basis.T).requires_grad_()

    def test_it_stays_with_the_exact_value_while_directions_turn(self):
        regularizer = made(self.rank, width=self.width).double()
        excess, alignment = [], []
        for z in self.drifting(12):
            value = regularizer(z)
            value.backward()
            other = z.detach().clone().requires_grad_()
            exact = trailing_energy(other, self.rank)
            exact.backward()
            excess.append(float((value / exact).detach()) - 1)
            alignment.append(
                float(torch.cosine_similarity(z.grad.flatten(), other.grad.flatten(), 0))
            )
        assert excess[0] == pytest.approx(0, abs=1e-12)  # the first is exact
        assert all(-1e-12 < part < 0.02 for part in excess)
        assert min(alignment) > 0.95

    def test_resumed_it_goes_on_to_the_bit(self):
        batches = list(self.drifting(6))
        whole, first, then = (made(self.rank, width=self.width) for _ in range(3))
        expected = [whole(z) for z in batches]
        found = [first(z) for z in batches[:3]]
        then.load_state_dict(first.state_dict())
        found += [then(z) for z in batches[3:]]
        assert all(map(torch.equal, found, expected))
        assert torch.equal(then.basis, whole.basis)
        fresh = made(self.rank, width=self.width)
        fresh.load_state_dict(made(self.rank, width=self.width).state_dict())
        assert torch.equal(fresh(batches[0]), expected[0])  # nothing to follow yet

    def test_other_data_are_decomposed(self):
        regularizer = made(self.rank, width=self.width)
        batches = list(self.drifting(3))
        for z in batches:
            regularizer(z)
        other = features(600, self.width)
        basis = regularizer.basis.clone()
        expected = trailing_energy(other, self.rank)
        assert torch.equal(regularizer.eval()(other), expected)
        assert torch.equal(regularizer.basis, basis)
        assert float(regularizer.train()(other).detach()) > float(expected.detach())

    def test_few_rows_and_what_does_not_pay_are_decomposed(self):
        z = features(100, self.width)
        regularizer = made(self.rank, width=self.width)
        assert torch.equal(regularizer(z), trailing_energy(z, self.rank))
        assert not regularizer.basis.any()
        assert made(65, width=self.width).basis is None
        assert made(8, start=128, steps=9, width=self.width).basis is None
        assert made(8, width=64).state_dict() == {}

    def test_a_schedule_follows_the_most_it_needs(self):
        regularizer = made(4, start=16, steps=3, width=self.width).double()
        for z, rank in zip(self.drifting(5), [16, 12, 8, 4, 4], strict=True):
            exact = float(trailing_energy(z.detach(), rank))
            found = float(regularizer(z).detach())
            assert exact - 1e-12 <= found < 1.03 * exact
        assert regularizer.basis.shape == (self.width, 16)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: TrailingEnergy(0), ConfigError, "whole number .* at least 1, .* got 0"),
        (lambda: TrailingEnergy(-1), ConfigError, "whole number .* got -1"),
        (lambda: TrailingEnergy(1.0), ConfigError, r"between 0 and 1, got 1\.0"),
        (lambda: TrailingEnergy(0.0), ConfigError, r"between 0 and 1, got 0\.0"),
        (lambda: TrailingEnergy(float("nan")), ConfigError, "between 0 and 1, got nan"),
        (lambda: TrailingEnergy(energy=1.0), ConfigError, r"the energy between .* got 1\.0"),
        (TrailingEnergy, ConfigError, "either a rank, .* got rank=None and energy=None"),
        (lambda: TrailingEnergy(1, energy=0.5), ConfigError, "got rank=1 and energy=0.5"),
        (lambda: TrailingEnergy(1, start=3), ConfigError, "got start=3 and steps=0"),
        (lambda: TrailingEnergy(1, steps=3), ConfigError, "got start=None and steps=3"),
        (lambda: TrailingEnergy(1, start=2, steps=-1), ConfigError, "start=2 and steps=-1"),
        (
            lambda: TrailingEnergy(1, start=0, steps=3),
            ConfigError,
            "start is a whole number .* got 0",
        ),
        (lambda: TrailingEnergy(energy=0.5, start=2, steps=3), ConfigError, "energy .* got 2"),
        (lambda: TrailingEnergy(True), ConfigError, "whole number .* got True"),
        (lambda: TrailingEnergy(2.5), ConfigError, r"got 2\.5"),
        (
            lambda: TrailingEnergy(0.2, start=3, steps=2),
            ConfigError,
            "unit .* start=3 and rank=0.2",
        ),
        (
            lambda: TrailingEnergy(2, start=0.5, steps=2),
            ConfigError,
            "unit .* start=0.5 and rank=2",
        ),
        (lambda: made(10), LayoutError, "rank 10 leaves nothing of 10 channels"),
        (lambda: made(0.99), LayoutError, "rank 10 leaves nothing of 10 channels"),
        (lambda: made(11), LayoutError, "rank 11 leaves nothing of 10 channels: .* below 10"),
        (lambda: made(1, start=11, steps=3), LayoutError, "rank 11 leaves nothing"),
    ],
)
def test_impossible_settings_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_few_rows_are_refused_where_something_learns_from_them():
    regularizer = made(2, start=4, steps=10)
    message = r"at least 5 rows .* got 3 .*drop_last=True.*smaller rank"
    with pytest.raises(LayoutError, match=message):
        regularizer(features(rows=3))
    with torch.no_grad():
        assert float(regularizer(features(rows=3))) == pytest.approx(0, abs=1e-12)
    assert float(regularizer.eval()(features(rows=3)).detach()) == pytest.approx(0, abs=1e-12)
