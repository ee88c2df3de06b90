"""Are two methods different, when both were run from the same seeds?

Runs that share a seed share their data order and first weights, so the differences within each seed
vary less than the results themselves. The interval is Student's: over the mean of those
differences, exact when they are normally distributed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from anyteacher.errors import ConfigError, NonFiniteError

CONFIDENCE = 0.95
Mode = Literal["min", "max"]
Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True)
class Paired:
    """A method against a baseline over the same seeds, as method minus baseline.

    Attributes:
        mean: mean difference, in the metric's units.
        deviation: sample standard deviation of the differences.
        low: lower end of the 95 % interval of the mean difference.
        high: upper end of that interval.
        seeds: number of seeds.
        won: share of the seeds in which the method is strictly better.
        mode: whether a smaller ("min") or a larger ("max") metric is better.
    """

    mean: float
    deviation: float
    low: float
    high: float
    seeds: int
    won: float
    mode: Mode

    def interval(self, confidence: float) -> tuple[float, float]:
        """Both ends of the interval of the mean difference at another confidence."""
        half = student_t_quantile((1 + confidence) / 2, self.seeds - 1) * self._error
        return self.mean - half, self.mean + half

    def p_value(self, difference: float = 0.0) -> float:
        """How likely a mean at least as far from a true difference is, to either side.

        Args:
            difference: the true mean difference that is supposed.
        """
        distance = abs(self.mean - difference)
        if self._error == 0:
            return float(distance == 0)
        return student_t_tails(distance / self._error, self.seeds - 1)

    @property
    def _error(self) -> float:
        return self.deviation / math.sqrt(self.seeds)

    @property
    def verdict(self) -> Verdict:
        """What the interval shows: undecided where it holds zero."""
        if self.low <= 0 <= self.high:
            return "undecided"
        return "better" if (self.mean < 0) == (self.mode == "min") else "worse"


def compare(method: Sequence[float], baseline: Sequence[float], *, mode: Mode) -> Paired:
    """Compares the results of two methods seed by seed.

    Args:
        method: one result a seed.
        baseline: the results of the baseline, in the same order of seeds.
        mode: whether a smaller ("min") or a larger ("max") result is better.

    Raises:
        ConfigError: when the lengths differ or there are fewer than two seeds.
        NonFiniteError: when a result is infinite or not a number.

    >>> result = compare([0.20, 0.19, 0.22], [0.25, 0.23, 0.24], mode="min")
    >>> f"{result.mean:.4f} [{result.low:.4f}, {result.high:.4f}], {result.verdict}"
    '-0.0367 [-0.0746, 0.0013], undecided'
    """
    if len(method) != len(baseline):
        raise ConfigError(
            f"A paired comparison needs the same seeds on both sides, got {len(method)} results "
            f"of the method and {len(baseline)} of the baseline. Run the missing seeds."
        )
    if len(method) < 2:
        raise ConfigError(
            f"An interval needs at least two seeds, got {len(method)}. Run more seeds."
        )
    for name, values in (("method", method), ("baseline", baseline)):
        for position, value in enumerate(values):
            if not math.isfinite(value):
                raise NonFiniteError(
                    f"Result {position} of the {name} is {value}, so no mean can be taken. "
                    "Look at that run, and report it rather than leave it out."
                )
    differences = [ours - theirs for ours, theirs in zip(method, baseline, strict=True)]
    seeds = len(differences)
    mean, deviation = fmean(differences), stdev(differences)
    half = student_t_quantile((1 + CONFIDENCE) / 2, seeds - 1) * deviation / math.sqrt(seeds)
    wins = sum(difference < 0 if mode == "min" else difference > 0 for difference in differences)
    return Paired(mean, deviation, mean - half, mean + half, seeds, wins / seeds, mode)


def student_t_quantile(probability: float, freedom: int) -> float:
    """The value below which Student's t lies with this probability.

    Bisection on the distribution as a function of the angle atan(t / sqrt(freedom)), in which it
    is a finite sum (Abramowitz and Stegun, Handbook of Mathematical Functions, 1964, 26.7.3-4).

    Args:
        probability: strictly between 0 and 1.
        freedom: degrees of freedom, at least 1.

    Raises:
        ConfigError: when either is out of its range.

    >>> round(student_t_quantile(0.975, 19), 9)
    2.093024054
    """
    if not 0 < probability < 1 or freedom < 1:
        raise ConfigError(
            "A t quantile needs a probability between 0 and 1 and at least one degree of freedom, "
            f"got {probability} and {freedom}."
        )
    if probability < 0.5:
        return -student_t_quantile(1 - probability, freedom)
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        if (1 + _within(middle, freedom)) / 2 < probability:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)


def student_t_tails(value: float, freedom: int) -> float:
    """The probability that Student's t is at least so far from zero, to either side.

    Args:
        value: of t.
        freedom: degrees of freedom, at least 1.

    >>> round(student_t_tails(2.093024054, 19), 9)
    0.05
    """
    return max(0.0, 1 - _within(math.atan(abs(value) / math.sqrt(freedom)), freedom))


def holm(p_values: Sequence[float], alpha: float = 1 - CONFIDENCE) -> list[float]:
    """The level at which each of a family of hypotheses is tested, in the order given.

    The smallest of m p-values is tested at alpha / m, the next at alpha / (m - 1), and so on up to
    the first that is not below its level; all from there on are tested at that level. So the
    probability that any true hypothesis is rejected is at most alpha, whatever the dependence.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics, 1979.

    Args:
        p_values: one for each hypothesis.
        alpha: of the whole family.

    >>> [round(level, 4) for level in holm([0.2, 0.001, 0.03])]
    [0.025, 0.0167, 0.025]
    """
    levels = [0.0] * len(p_values)
    left = len(p_values)
    for place in sorted(range(len(p_values)), key=p_values.__getitem__):
        levels[place] = alpha / left
        if p_values[place] <= alpha / left:
            left = max(1, left - 1)
    return levels


def _within(angle: float, freedom: int) -> float:
    """The probability that |t| is below sqrt(freedom) * tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    # Each term is the last times cos^2 * (k - 1) / k, with k of the same parity as the freedom.
    for k in range(2 + odd, freedom + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
