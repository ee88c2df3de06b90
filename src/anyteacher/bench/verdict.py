"""What a family of paired comparisons says of a claim: supported, not supported, or undecided.

Every comparison is a mean difference over paired seeds, turned so that more is better, and has a
margin: the smallest difference that matters. With the ends of its interval,

- `better` is supported where the whole interval is above 0, and not supported where it is below the
  margin: then there is no difference that matters, or one to the other side;
- `no better` is supported where the whole interval is below the margin, and not supported where it
  is above 0;
- `no worse` is `no better` with the sides exchanged.

Everything else is undecided: more seeds may decide it. The intervals of a family are those at the
levels of Holm's procedure, so that the probability of any false "supported" is at most 5 %. That
holds for differences that are spread alike to both sides, as they are where two methods do the
same; five seeds with a long tail to one side can mislead any t interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch

from anyteacher.statistics import CONFIDENCE, Paired, holm, student_t_quantile

Expects = Literal["better", "no better", "no worse"]
Verdict = Literal["supported", "not supported", "undecided"]

FEWEST_SEEDS = 5
"""Paired seeds below which nothing is decided."""

_POWER = 0.8
_FAMILIES = 4000  # simulated for each power
_POINTS, _BISECTIONS = 4001, 60


@dataclass(frozen=True)
class Decision:
    """What one comparison of a family says.

    Attributes:
        paired: The differences, turned so that more is better.
        low: Lower end of the interval at its level in the family.
        high: Upper end of it.
        verdict: Of this comparison.
    """

    paired: Paired
    low: float
    high: float
    verdict: Verdict


def decide(
    family: Sequence[Paired], margins: Sequence[float], expects: Expects, size: int = 0
) -> list[Decision]:
    """Decides every comparison of a family.

    Args:
        family: The comparisons, turned so that more is better.
        margins: The smallest difference that matters in each, positive.
        expects: What is claimed of all of them.
        size: How many the family has, with those that are not measured yet; 0 for these alone.
    """
    tested = {"better": 0.0, "no better": 1.0, "no worse": -1.0}[expects]
    p_values = [
        paired.p_value(tested * margin) for paired, margin in zip(family, margins, strict=True)
    ]
    # Of what is missing nothing is known; without it, a part of a family would find too much.
    p_values += [1.0] * max(0, size - len(family))
    levels = holm(p_values)[: len(family)]
    decisions = []
    for paired, margin, level in zip(family, margins, levels, strict=True):
        low, high = paired.interval(1 - level)
        verdict: Verdict = "undecided"
        if paired.seeds >= FEWEST_SEEDS:
            verdict = _verdict(low, high, margin, expects)
        decisions.append(Decision(paired, low, high, verdict))
    return decisions


def _verdict(low: float, high: float, margin: float, expects: Expects) -> Verdict:
    if expects == "better":
        supported, refuted = low > 0, high < margin
    elif expects == "no better":
        supported, refuted = high < margin, low > 0
    else:
        supported, refuted = low > -margin, high < 0
    return "supported" if supported else "not supported" if refuted else "undecided"


def detectable(paired: Paired, family: int) -> float:
    """The true difference that a comparison finds with a probability of 80 %.

    At the strictest level of Holm's procedure, with the deviation that was seen, in the unit of the
    differences. Found is a value of Student's t above its limit, which by a true difference has the
    noncentral distribution.

    Args:
        paired: The comparison.
        family: How many comparisons are decided together.
    """
    freedom = paired.seeds - 1
    limit = student_t_quantile(1 - (1 - CONFIDENCE) / (2 * family), freedom)
    return _noncentrality(limit, freedom) * paired.deviation / math.sqrt(paired.seeds)


@cache
def _noncentrality(limit: float, freedom: int) -> float:
    """Of Student's t that is above a limit with the probability `_POWER`."""
    # The mean over the chi-distributed deviation s of the probability that a normal variable with
    # this mean is above limit * s. The density of s, by its logarithm, without its constant.
    s = torch.linspace(0, 1 + 10 / math.sqrt(freedom), _POINTS, dtype=torch.float64)[1:]
    logarithm = (freedom - 1) * s.log() - freedom * s.square() / 2
    weights = torch.softmax(logarithm, 0)
    low, high = 0.0, 10 * limit + 10
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        found = float((weights * torch.special.ndtr(middle - limit * s)).sum())
        low, high = (middle, high) if found < _POWER else (low, middle)
    return (low + high) / 2


def together(verdicts: Sequence[Verdict], needs: float) -> Verdict:
    """What the comparisons say of the claim that more than a share of them is supported.

    Args:
        verdicts: Of the comparisons; of none nothing is known.
        needs: The share, in (0, 1]; 1 for all of them.
    """

    def enough(count: int) -> bool:
        return count == len(verdicts) or count > needs * len(verdicts)

    if verdicts and enough(verdicts.count("supported")):
        return "supported"
    if not enough(len(verdicts) - verdicts.count("not supported")):
        return "not supported"
    return "undecided"


def power(effect: float, seeds: int, family: int) -> float:
    """How often one comparison of a family is found better, where all are, by simulation.

    At no effect it is instead how often any of the family is: the rate of false "supported".

    Args:
        effect: The true mean difference, in standard deviations of the differences.
        seeds: Paired seeds.
        family: Comparisons in the family, independent of each other.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (_FAMILIES, family, seeds)
    draws = torch.randn(shape, generator=generator, dtype=torch.float64) + effect
    values = draws.mean(2) / draws.std(2) * seeds**0.5
    order = values.abs().argsort(1, descending=True)
    sorted_values = values.gather(1, order)
    limits = torch.tensor(
        [
            student_t_quantile(1 - (1 - CONFIDENCE) / (2 * (family - place)), seeds - 1)
            for place in range(family)
        ],
        dtype=torch.float64,
    )
    rejected = (sorted_values.abs() > limits).long().cumprod(1).bool()
    found = rejected & (sorted_values > 0)
    return float(found.double().mean() if effect else found.any(1).double().mean())
