import math

import pytest
import torch

from anyteacher.data.rooms.rng import Stream, angle, sine, uniform


def splitmix64(seed, count):
    """The published algorithm, in Python's unbounded integers."""
    mask = (1 << 64) - 1

    def finalise(x):
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    golden = 0x9E3779B97F4A7C15
    state = finalise((seed + golden) & mask)
    return [finalise((state + golden * k) & mask) >> 40 for k in range(1, count + 1)]


@pytest.mark.parametrize("seed", [0, 1, 123456789, (1 << 62) + 17, -5])
def test_uniform_is_splitmix64(seed):
    ours = uniform(torch.tensor([seed]), 20)[0] * (1 << 24)
    assert ours.long().tolist() == splitmix64(seed, 20)


def test_uniform_is_even_and_independent_between_neighbouring_seeds():
    values = uniform(torch.arange(2000), 50).double()
    assert values.mean().item() == pytest.approx(0.5, abs=0.005)
    assert values.var().item() == pytest.approx(1 / 12, abs=0.002)
    neighbours = torch.corrcoef(torch.stack((values[:-1].flatten(), values[1:].flatten())))[0, 1]
    assert abs(neighbours.item()) < 0.01


def test_choice_follows_its_weights():
    drawn = Stream(torch.arange(20_000), 1).choice((0.2, 0.5, 0.3), 1)
    shares = drawn.flatten().bincount() / 20_000
    assert shares.tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.02)


def test_stream_refuses_more_than_its_budget():
    draw = Stream(torch.arange(2), 5)
    draw(4)
    with pytest.raises(RuntimeError, match="budget of 5"):
        draw(2)


def test_sine_and_angle_are_close_to_the_real_ones():
    turns = torch.linspace(-2, 2, 4001, dtype=torch.float64)
    exact = torch.sin(2 * math.pi * turns)
    assert (sine(turns) - exact).abs().max().item() < 0.0012
    angles = torch.linspace(0, 1, 1001, dtype=torch.float64)[:-1]
    x, y = torch.cos(2 * math.pi * angles), torch.sin(2 * math.pi * angles)
    assert (angle(3 * x, 3 * y) - angles).abs().max().item() < 0.0007
