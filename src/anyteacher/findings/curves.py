"""Logged curves as charts: over the steps of training, one line an arm or one a quantity."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from statistics import fmean

import torch

from anyteacher.errors import ConfigError
from anyteacher.findings.arms import Arm
from anyteacher.findings.run import Finding
from anyteacher.findings.seeds import alike, mean_text
from anyteacher.logs import MOST_VALUES, Curve, spread
from anyteacher.report import Block, HeatMap, LineChart, Panel, Series

STEP = "training step"
_DECADES = 1e-5  # that a logarithmic axis spans at most: rounding is no result

_TERMS = {
    "transfer": "knowledge transfer",
    "regularisation": "spectral regularisation",
    "total": "both",
}
_RANKS = {"projector_rank": "projector", "centred_rank": "student's feature"}


def mean_curve(findings: Sequence[Finding], name: str) -> Curve:
    """A logged number, mean over runs, at the steps that all of them logged; may be empty."""
    curves = [dict(finding.run.curves.get(name, [])) for finding in findings]
    steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    return [(step, fmean(curve[step] for curve in curves)) for step in steps]


def is_logged(arm: Arm, link: str) -> bool:
    """Whether every run of the arm has logged what it saw of a link."""
    return bool(mean_curve(arm.findings, f"spectra/{link}/energy"))


def thinned(curve: Curve, most: int) -> Curve:
    """At most so many points of a curve, evenly spread, the first and the last among them."""
    return [curve[place] for place in spread(len(curve), most)]


def terms(arm: Arm, link: str, points: int) -> Block | None:
    """The two terms of a link's loss and their sum over training; None where none was logged.

    Each line has at most so many points; so for the other charts.
    """
    curves = _of_link(arm, link, _TERMS)
    return _chart(
        "The two terms of the loss",
        "mean squared error per element",
        curves,
        _seeds(arm)
        + "Both add up to the squared error between the compared features, whatever the link's own "
        "loss is. Where the projector reaches every direction the second term is zero, and its "
        "singular values tell how well it does.",
        points=points,
        log=True,
    )


def ranks(arm: Arm, link: str, points: int) -> Block | None:
    """Effective ranks over training; None where none was logged."""
    curves = _of_link(arm, link, _RANKS)
    return _chart(
        "Effective ranks",
        "effective rank, in directions",
        curves,
        _seeds(arm)
        + "The exponential of the entropy of the energies' shares: "
        + ("of the squared singular values, and " if curves["projector"] else "")
        + "of the student's centred feature on one batch.",
        points=points,
    )


def spectrum(arm: Arm, link: str) -> Block | None:
    """The projector's singular values over training, a panel a seed; None where none was logged."""
    panels = []
    for finding in arm.findings:
        prefix = f"spectra/{link}/singular_values/"
        found = {n: c for n, c in finding.run.curves.items() if n.startswith(prefix)}
        if not found:
            continue
        by_number = {int(n[len(prefix) :]): dict(c) for n, c in sorted(found.items())}
        numbers = sorted(by_number)
        steps = sorted(by_number[numbers[0]])
        columns = [
            _filled({n: by_number[n][step] for n in numbers if step in by_number[n]}, numbers)
            for step in steps
        ]
        rows = tuple(number + 1 for number in numbers)
        label = f"seed {finding.run.seed_text}"
        panels.append(Panel(label, steps, torch.tensor(columns, dtype=torch.float64).T, rows))
    return drawn_or_none(
        HeatMap,
        "Singular values of the projector",
        STEP,
        "number, the largest first",
        "singular value",
        panels,
        "Each column shows the values last logged. Equal steps of lightness are equal ratios. What "
        f"rounding makes of zeros is left out. Of more than {MOST_VALUES} values as many are "
        "logged, evenly spread, and each stands for its neighbours.",
    )


def _filled(known: Mapping[int, float], numbers: Sequence[int]) -> list[float]:
    """Singular values at all numbers, of which other ones may be logged at every step.

    Between two logged ones they go in equal ratios, and behind the last one there are none: zero.
    """
    there = sorted(known)
    values = []
    for number in numbers:
        after = bisect_left(there, number)
        if after == len(there):
            values.append(0.0)
        elif there[after] == number:
            values.append(known[number])
        else:
            low, high = there[after - 1], there[after]
            share = (number - low) / (high - low)
            values.append(known[low] ** (1 - share) * known[high] ** share)
    return values


def between_arms(
    arms: Sequence[Arm],
    names: Mapping[str, str],
    title: str,
    y_label: str,
    *,
    points: int,
    note: str = "",
) -> Block | None:
    """One line an arm, mean over the seeds that all arms have; None where no arm has logged it.

    Where they share none, each line is the mean over its own arm's seeds, and the note says so.

    Args:
        arms: Which may be shown.
        names: Of the logged number, by the arm's name; other arms have no line.
        title: What the chart shows.
        y_label: What is measured, with its unit.
        points: Of a line at most.
        note: For the reader.
    """
    logged = {
        arm.name: [f for f in arm.findings if f.run.curves.get(names.get(arm.name, ""))]
        for arm in arms
    }
    curves = {
        name: mean_curve(findings, names.get(name, "")) for name, findings in alike(logged).items()
    }
    if not any(curves.values()):
        return None
    # An arm without a curve keeps its place, so that the others look alike in all charts.
    nothing = [(next(curve for curve in curves.values() if curve)[0][0], math.nan)]
    kept = {name: curve or nothing for name, curve in curves.items()}
    return _chart(title, y_label, kept, f"{note} {mean_text(logged)}".strip(), points=points)


def drawn_or_none(kind: type[Block], *arguments: object) -> Block | None:
    """A figure; None where it cannot be drawn, for want of values or of finite ones."""
    try:
        return kind(*arguments)
    except ConfigError:
        return None


def _chart(
    title: str,
    y_label: str,
    curves: Mapping[str, Curve],
    note: str,
    *,
    points: int,
    log: bool = False,
) -> Block | None:
    there = {label: thinned(curve, points) for label, curve in curves.items() if curve}
    series = [
        Series(label, [step for step, _ in curve], [value for _, value in curve])
        for label, curve in there.items()
    ]
    values = [value for line in series for value in line.y if math.isfinite(value)]
    log = log and bool(values) and min(values) > _DECADES * max(values)
    return drawn_or_none(LineChart, title, STEP, y_label, series, log, note)


def _of_link(arm: Arm, link: str, labels: Mapping[str, str]) -> dict[str, Curve]:
    """What every run of the arm has logged of a link, by its label."""
    return {
        label: mean_curve(arm.findings, f"spectra/{link}/{key}") for key, label in labels.items()
    }


def _seeds(arm: Arm) -> str:
    return f"Mean over {len(arm.findings)} seeds. " if len(arm.findings) > 1 else ""
