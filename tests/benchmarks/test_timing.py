import time

import torch
from benchmarks.timing import Ratio, Rounds, Settings


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


def test_a_line_lasts_as_long_as_asked_by_its_own_clock(monkeypatch):
    now = iter(range(1000))
    monkeypatch.setattr(time, "process_time", lambda: next(now))  # every look takes a second
    rounds = Rounds({"a": int}, Settings(least_rounds=1), 20.0)
    assert len(rounds.seconds["a"]) == 7  # three looks a round
    assert set(rounds.seconds["a"]) == {1}
