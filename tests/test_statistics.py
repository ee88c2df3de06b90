import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyteacher.errors import ConfigError, NonFiniteError
from anyteacher.statistics import compare, holm, student_t_quantile, student_t_tails

# Two-sided 95 % points, as printed in tables to nine decimals and more.
TABLE_975 = {
    1: 12.706204736432095,
    2: 4.302652729911275,
    3: 3.182446305284263,
    4: 2.776445105198655,
    5: 2.570581835636314,
    9: 2.262157162740992,
    10: 2.228138851964939,
    19: 2.093024054408263,
    30: 2.042272456301238,
    100: 1.983971518449634,
    1000: 1.962339080826408,
}
results = st.lists(
    st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=12
).map(lambda pairs: tuple(zip(*pairs, strict=True)))
quick = settings(max_examples=50, deadline=None)


@pytest.mark.parametrize(("freedom", "value"), TABLE_975.items())
def test_quantile_matches_the_table(freedom, value):
    assert student_t_quantile(0.975, freedom) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 12, 19])
@pytest.mark.parametrize("probability", [0.6, 0.9, 0.995])
def test_quantile_integrates_the_density(freedom, probability):
    """Simpson's rule on the textbook density, from zero to the quantile."""
    end, steps = student_t_quantile(probability, freedom), 20_000
    scale = math.gamma((freedom + 1) / 2) / math.sqrt(freedom * math.pi) / math.gamma(freedom / 2)
    total = 0.0
    for step in range(steps + 1):
        weight = 1 if step in (0, steps) else 4 if step % 2 else 2
        total += weight * (1 + (end * step / steps) ** 2 / freedom) ** (-(freedom + 1) / 2)
    assert 0.5 + scale * total * end / steps / 3 == pytest.approx(probability, abs=1e-9)


@quick
@given(st.floats(0.001, 0.999), st.integers(1, 60))
def test_quantile_is_symmetric(probability, freedom):
    mirrored = -student_t_quantile(1 - probability, freedom)
    assert student_t_quantile(probability, freedom) == pytest.approx(mirrored, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("probability", "freedom"), [(0.0, 3), (1.0, 3), (math.nan, 3), (0.9, 0)])
def test_quantile_refuses_what_has_none(probability, freedom):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        student_t_quantile(probability, freedom)


def test_compare_by_hand():
    """Differences 1, 2, 3, 6: mean 3, variance 14 / 3."""
    result = compare([2, 4, 6, 10], [1, 2, 3, 4], mode="max")
    half = TABLE_975[3] * math.sqrt(14 / 3) / 2
    assert result.mean == 3
    assert result.deviation == pytest.approx(math.sqrt(14 / 3))
    assert (result.low, result.high) == pytest.approx((3 - half, 3 + half))
    assert (result.seeds, result.won) == (4, 1.0)


@pytest.mark.parametrize(
    ("method", "mode", "verdict", "won"),
    [
        ([1.0, 1.1, 1.2], "min", "better", 1.0),
        ([1.0, 1.1, 1.2], "max", "worse", 0.0),
        ([2.0, 2.1, 1.9], "min", "undecided", 1 / 3),
        ([2.0, 2.0, 2.0], "max", "undecided", 0.0),
    ],
)
def test_verdict_and_wins(method, mode, verdict, won):
    result = compare(method, [2.0, 2.0, 2.0], mode=mode)
    assert result.verdict == verdict
    assert result.won == pytest.approx(won)


@quick
@given(results, st.sampled_from(["min", "max"]))
def test_swapping_the_sides_mirrors_the_interval(sides, mode):
    one, other = compare(*sides, mode=mode), compare(*sides[::-1], mode=mode)
    assert (one.mean, one.low, one.high) == (-other.mean, -other.high, -other.low)
    assert one.deviation == other.deviation
    assert one.won + other.won <= 1


def test_interval_covers_the_truth_as_often_as_it_says():
    """Four thousand made-up studies of five seeds each, true difference 0.3."""
    noise, covered = random.Random(0), 0
    for _ in range(4000):
        baseline = [noise.gauss(0, 5) for _ in range(5)]
        result = compare([b + noise.gauss(0.3, 1) for b in baseline], baseline, mode="max")
        covered += result.low <= 0.3 <= result.high
    assert covered / 4000 == pytest.approx(0.95, abs=0.012)


def test_errors_say_what_is_missing():
    with pytest.raises(ConfigError, match="got 3 results of the method and 2 of the baseline"):
        compare([1, 2, 3], [1, 2], mode="min")
    with pytest.raises(ConfigError, match="at least two seeds, got 1"):
        compare([1], [2], mode="min")
    with pytest.raises(NonFiniteError, match="Result 1 of the baseline is nan"):
        compare([1, 2], [1, math.nan], mode="min")
    with pytest.raises(NonFiniteError, match="Result 0 of the method is inf"):
        compare([math.inf, 2], [1, 2], mode="min")


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 30])
@pytest.mark.parametrize("value", [0.0, 0.3, 2.5, 40.0])
def test_tails_agree_with_scipy(value, freedom):
    stats = pytest.importorskip("scipy.stats")
    expected = 2 * stats.t.sf(value, freedom)
    assert student_t_tails(value, freedom) == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert student_t_tails(-value, freedom) == student_t_tails(value, freedom)


def test_the_p_value_and_the_interval_say_the_same():
    paired = compare([1.0, 1.4, 0.7, 1.1], [0.8, 0.9, 0.8, 0.6], mode="max")
    low, high = paired.interval(0.9)
    assert paired.interval(0.95) == pytest.approx((paired.low, paired.high))
    assert paired.p_value(low) == pytest.approx(0.1)
    assert paired.p_value(high) == pytest.approx(0.1)
    stats = pytest.importorskip("scipy.stats")
    expected = stats.ttest_rel([1.0, 1.4, 0.7, 1.1], [0.8, 0.9, 0.8, 0.6]).pvalue
    assert paired.p_value() == pytest.approx(expected)


def test_differences_that_are_all_the_same():
    paired = compare([1.0, 2.0], [0.5, 1.5], mode="max")
    assert (paired.p_value(), paired.p_value(0.5)) == (0.0, 1.0)
    assert paired.interval(0.99) == (0.5, 0.5)


def rejected_by_definition(p_values, alpha):
    """Holm's procedure as he states it."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    found = set()
    for place, i in enumerate(order):
        if p_values[i] > alpha / (len(p_values) - place):
            break
        found.add(i)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_holm_rejects_what_its_definition_rejects(seed):
    generator = random.Random(seed)
    p_values = [generator.random() ** 6 for _ in range(generator.randint(1, 9))]
    levels = holm(p_values, 0.05)
    found = {i for i, (p, level) in enumerate(zip(p_values, levels, strict=True)) if p <= level}
    assert found == rejected_by_definition(p_values, 0.05)
    assert min(levels) == pytest.approx(0.05 / len(p_values))
