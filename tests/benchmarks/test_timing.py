import torch
from benchmarks.timing import Ratio, Rounds, Settings, kept_bytes


def test_kept_bytes_counts_each_saved_tensor_once_and_no_parameter():
    x = torch.randn(8, 4, requires_grad=True)
    weight = torch.nn.Parameter(torch.randn(4, 4))
    assert kept_bytes(lambda: x @ weight) == 8 * 4 * 4  # x, for the gradient of the weight
    assert kept_bytes(lambda: x * x) == 8 * 4 * 4  # x twice
    assert kept_bytes(lambda: x + 1) == 0


def test_every_side_runs_as_often_in_an_order_that_turns():
    calls = []
    sides = {name: lambda name=name: calls.append(name) for name in "abc"}
    rounds = Rounds(sides, Settings(least_rounds=6, most_rounds=6), 0.0)
    assert all(len(seconds) == 6 for seconds in rounds.seconds.values())
    orders = ["".join(calls[start : start + 3]) for start in range(6, len(calls), 3)]
    assert orders == ["abc", "cba", "bca", "acb", "cab", "bac"]


def test_ratios_are_of_one_round_and_their_median():
    rounds = Rounds({"a": int, "b": int}, Settings(most_rounds=1), 0.0)
    rounds.seconds = {"a": [2.0, 30.0, 8.0], "b": [1.0, 10.0, 2.0]}
    assert rounds.ratio("a", "b") == Ratio(3.0, 2.0, 4.0)
    assert rounds.milliseconds("a") == 8000.0
    assert rounds.more("a", "b") == 6e6


def test_an_interval_covers_the_median_about_95_times_in_100():
    draws = torch.rand(2000, 41, generator=torch.Generator().manual_seed(0))
    ratios = [Ratio.of(row) for row in draws.tolist()]
    covered = sum(ratio.low <= 0.5 <= ratio.high for ratio in ratios) / len(ratios)
    assert 0.93 < covered < 0.98
