"""What the choice of settings has shown: how weight, tap and form matter, on validation data."""

import math
from statistics import fmean

from anyteacher.bench.cell import Arm
from anyteacher.bench.plan import Plan
from anyteacher.bench.problems import problem
from anyteacher.report import Section, Table
from anyteacher.report.blocks import Cell
from anyteacher.report.markup import number

_BEST = "the arm's best"
_TEXT = (
    "The mean over tasks, teachers and methods of the difference from the student alone with the "
    "same seeds, on validation data, in per cent; more is better. In brackets is how many arms: a "
    "weight beyond the usual ones was tried where the best lay at their end. Taps and forms that "
    "follow the first were tried with the best weight of each arm. The weight is a factor of the "
    "method's own. No comparison of a metric uses these runs."
)

_Setting = tuple[str, str, str]
_Column = tuple[str, str]


def tuning_section(plan: Plan) -> list[Section]:
    """A section with a line a setting that was tried; none where nothing was."""
    values: dict[_Setting, dict[_Column, list[float]]] = {}
    for arm in plan.arms:
        for setting, difference in _differences(plan, arm).items():
            column = ("random" if arm.teacher == "random" else "trained", arm.direction)
            values.setdefault(setting, {}).setdefault(column, []).append(difference)
    columns = sorted({column for found in values.values() for column in found}, reverse=True)
    rows: list[list[Cell]] = [
        [*setting, *(_mean(found.get(column)) for column in columns)]
        for setting, found in sorted(values.items(), key=_place)
    ]
    if not rows:
        return []
    titles = [
        "× own weight",
        "tap",
        "form",
        *(f"{kind} teacher, {direction}" for kind, direction in columns),
    ]
    return [Section("What the settings did", _TEXT, [Table(titles, rows, "Settings tried")])]


def _place(item: tuple[_Setting, object]) -> float:
    """Weights by their size, then what was tried with the best of them, as it was tried."""
    weight = item[0][0]
    return math.inf if weight == _BEST else float(weight)


def _differences(plan: Plan, arm: Arm) -> dict[_Setting, float]:
    """Per cent by setting, of an arm with a teacher; without what diverged or lacks its pair."""
    scale, _ = plan.arms[arm]
    alone = plan.grid.arm(scale, arm.task)
    base = plan.chosen(alone)
    if arm.teacher == "none" or base is None:
        return {}
    theirs = plan.validated(plan.selection(alone))[base]
    sign = 100 if problem(arm.task).mode == "max" else -100
    tried = plan.validated(plan.selection(arm))
    weighed = plan.validated(plan.weighing(arm))
    found: dict[_Setting, float] = {}
    for choice, ours in tried.items():
        pairs = [(ours[seed], theirs[seed]) for seed in ours.keys() & theirs.keys()]
        values = [sign * (mine - other) / abs(other) for mine, other in pairs]
        if values and all(map(math.isfinite, values)):
            weight = f"{choice.weight:g}" if choice in weighed else _BEST
            found[weight, choice.tap, choice.form] = fmean(values)
    return found


def _mean(values: list[float] | None) -> str:
    return "·" if values is None else f"{number(fmean(values), 1)} ({len(values)})"
