import math

import pytest
import torch

from anyteacher.bench.verdict import FEWEST_SEEDS, decide, detectable, power, together
from anyteacher.statistics import CONFIDENCE, compare, student_t_quantile


def paired(values):
    return compare(list(values), [0.0] * len(values), mode="max")


def at(mean, spread=0.1, seeds=5):
    """Differences of this mean and about this spread."""
    steps = torch.linspace(-1, 1, seeds).tolist()
    return paired([mean + spread * step for step in steps])


@pytest.mark.parametrize(
    ("mean", "spread", "better", "no_better", "no_worse"),
    [
        (2.0, 0.1, "supported", "not supported", "supported"),
        (0.5, 0.1, "supported", "supported", "supported"),  # there, and smaller than matters
        (0.0, 0.1, "not supported", "supported", "supported"),
        (-0.5, 0.1, "not supported", "supported", "supported"),
        (-2.0, 0.1, "not supported", "supported", "not supported"),
        (0.2, 3.0, "undecided", "undecided", "undecided"),
        (-1.5, 0.9, "not supported", "supported", "not supported"),
    ],
)
def test_the_interval_decides(mean, spread, better, no_better, no_worse):
    one = [at(mean, spread)]
    assert decide(one, [1.0], "better")[0].verdict == better
    assert decide(one, [1.0], "no better")[0].verdict == no_better
    assert decide(one, [1.0], "no worse")[0].verdict == no_worse


def test_few_seeds_decide_nothing():
    few = at(2.0, 0.01, seeds=FEWEST_SEEDS - 1)
    assert decide([few], [1.0], "better")[0].verdict == "undecided"


@pytest.mark.parametrize(("seeds", "family"), [(5, 1), (5, 30), (10, 1), (10, 10), (20, 5)])
def test_what_is_detectable_is_detected_four_times_in_five(seeds, family):
    """By simulation, one comparison at the strictest level of the family."""
    generator = torch.Generator().manual_seed(0)
    spread = compare(torch.linspace(-1, 1, seeds).tolist(), [0.0] * seeds, mode="max")
    effect = detectable(spread, family) / spread.deviation
    draws = torch.randn((100_000, seeds), generator=generator, dtype=torch.float64) + effect
    t = draws.mean(1) / draws.std(1) * seeds**0.5
    limit = student_t_quantile(1 - 0.05 / (2 * family), seeds - 1)
    assert float((t > limit).double().mean()) == pytest.approx(0.8, abs=0.005)


def test_what_is_missing_counts_in_the_family():
    """Else the first comparisons of a family would be supported, and no longer once all are."""
    alone, part = (decide([at(1.0, 0.6)], [0.1], "better", size) for size in (0, 30))
    assert alone[0].verdict == "supported"
    assert part[0].verdict == "undecided"
    nothing = [at(0.0, 1.0)] * 29
    assert part[0] == decide([at(1.0, 0.6), *nothing], [0.1] * 30, "better")[0]


def test_a_family_has_wider_intervals():
    (alone,) = decide([at(1.0)], [0.1], "better")
    family = decide([at(1.0), at(0.0, 1.0), at(0.1, 1.0)], [0.1] * 3, "better")
    assert (alone.low, alone.high) == pytest.approx((alone.paired.low, alone.paired.high))
    assert family[0].high - family[0].low > 1.4 * (alone.high - alone.low)
    half = student_t_quantile(1 - 0.05 / 6, 4) * alone.paired.deviation / math.sqrt(5)
    assert family[0].low == pytest.approx(1.0 - half)


DRAWS = {
    "normal": lambda shape, random: torch.randn(shape, generator=random),
    # Results may be skewed: the differences of two methods without a difference are not.
    "skewed results": lambda shape, random: (
        torch.rand(shape, generator=random).log() - torch.rand(shape, generator=random).log()
    ),
    "the same baseline": lambda shape, random: (
        torch.randn(shape, generator=random) + torch.randn((1, shape[1]), generator=random)
    ),
    "steps of one": lambda shape, random: (2 * torch.randn(shape, generator=random)).round(),
}


@pytest.mark.parametrize("kind", DRAWS)
def test_nothing_is_seldom_taken_for_something(kind):
    random = torch.Generator().manual_seed(1)
    families, wrong = 600, 0
    for _ in range(families):
        differences = DRAWS[kind]((8, 5), random).double()
        found = decide([paired(row.tolist()) for row in differences], [0.01] * 8, "better")
        wrong += any(decision.verdict == "supported" for decision in found)
    # 5 % and three standard errors of so many families.
    assert wrong / families <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / families)


def test_at_the_margin_no_better_is_seldom_supported():
    random = torch.Generator().manual_seed(2)
    families, wrong = 600, 0
    for _ in range(families):
        differences = torch.randn((8, 5), generator=random).double() + 0.5
        found = decide([paired(row.tolist()) for row in differences], [0.5] * 8, "no better")
        wrong += any(decision.verdict == "supported" for decision in found)
    assert wrong / families <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / families)


def test_a_simulated_power_is_that_of_the_rule():
    random = torch.Generator().manual_seed(3)
    families, found = 300, 0
    for _ in range(families):
        differences = torch.randn((4, 5), generator=random).double() + 2
        decided = decide([paired(row.tolist()) for row in differences], [0.01] * 4, "better")
        found += sum(decision.verdict == "supported" for decision in decided)
    assert found / families / 4 == pytest.approx(power(2.0, 5, 4), abs=0.05)


def test_power_grows_with_effect_and_seeds_and_falls_with_the_family():
    assert power(0.0, 5, 10) <= 0.05
    assert power(1.0, 10, 1) < power(2.0, 10, 1)
    assert power(1.0, 5, 1) < power(1.0, 10, 1)
    assert power(1.0, 10, 20) < power(1.0, 10, 1)
    # A t test of ten pairs at one deviation: 0.803 (two-sided, 5 %).
    assert power(1.0, 10, 1) == pytest.approx(0.803, abs=0.02)
    assert CONFIDENCE == 0.95


@pytest.mark.parametrize(
    ("verdicts", "needs", "expected"),
    [
        ("sss", 1.0, "supported"),
        ("ssu", 1.0, "undecided"),
        ("ssn", 1.0, "not supported"),
        ("s", 0.5, "supported"),
        ("ssn", 0.5, "supported"),
        ("snn", 0.5, "not supported"),
        ("snu", 0.5, "undecided"),
        ("su", 0.5, "undecided"),  # one of two is not most of them
        ("sn", 0.5, "not supported"),
        ("sssu", 0.5, "supported"),
        ("", 0.5, "undecided"),
    ],
)
def test_a_share_of_the_comparisons_must_be_supported(verdicts, needs, expected):
    words = {"s": "supported", "n": "not supported", "u": "undecided"}
    assert together([words[letter] for letter in verdicts], needs) == expected
