"""Runs that differ in their seeds alone are an arm; arms are compared seed by seed."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from anyteacher.errors import ConfigError
from anyteacher.findings.run import SEEDS, WITHOUT_EFFECT, Finding, Run
from anyteacher.report.markup import shorten
from anyteacher.statistics import Mode, Paired, compare

# What counts the seeds at the end of a name, and what stands before it.
_COUNTED = re.compile(r"[-_/.= ](?:seed|s)?[-_= ]*\d*$|[-_/.= ]+$")

Source = Literal["test", "best validation"]


@dataclass(frozen=True)
class Arm:
    """Runs of the same settings.

    Attributes:
        name: From their folders.
        findings: One a seed, in the order of the seeds.
    """

    name: str
    findings: tuple[Finding, ...]

    @property
    def first(self) -> Finding:
        """The run of the first seed, whose settings are those of all but for the seeds."""
        return self.findings[0]

    @property
    def shown(self) -> Finding:
        """The run that stands for the arm in pictures: the first whose features were measured."""
        return next((f for f in self.findings if f.analysis is not None), self.first)


@dataclass(frozen=True)
class Comparison:
    """The deciding metric of every run, and each arm's difference from the first arm.

    Attributes:
        metric: Its name.
        mode: Whether smaller (`min`) or larger (`max`) values are better.
        source: Where all values are from.
        values: By the name of the arm and the seeds.
        pairs: By the name of the arm, over the seeds that it shares with the first one.
        unpaired: Arms that have no interval, with the number of seeds that they share with the
            first one: too few, or a run among them has no finite value.
        single: The difference of those among them that share one seed with the first one.
        failed: The runs whose value is not finite, with it, for the sake of which arms have none.
    """

    metric: str
    mode: Mode
    source: Source
    values: dict[str, dict[tuple[int, ...], float]]
    pairs: dict[str, Paired]
    unpaired: dict[str, int]
    single: dict[str, float] = field(default_factory=dict)
    failed: tuple[tuple[Run, float], ...] = ()


def grouped(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs of the same settings together, each group in the order of its seeds.

    Raises:
        ConfigError: when two runs agree in all settings and seeds.
    """
    groups: list[list[Run]] = []
    for run in runs:
        group = next((g for g in groups if g[0].settings == run.settings), None)
        if group is None:
            groups.append([run])
            continue
        twin = next((other for other in group if other.seeds == run.seeds), None)
        if twin is not None:
            raise ConfigError(
                f"The runs in '{twin.folder}' and '{run.folder}' have the same settings and seeds, "
                "and would count as one seed twice. Leave one out."
            )
        group.append(run)
    return [sorted(group, key=lambda run: run.seeds) for group in groups]


def arms_of(findings: Sequence[Finding]) -> list[Arm]:
    """Groups runs into arms, in the order in which the first of each was given.

    Raises:
        ConfigError: when two runs agree in all settings and seeds.
    """
    by_folder = {finding.run.folder: finding for finding in findings}
    groups = grouped([finding.run for finding in findings])
    names = _names([[run.folder for run in group] for group in groups])
    return [
        Arm(name, tuple(by_folder[run.folder] for run in group))
        for name, group in zip(names, groups, strict=True)
    ]


def _names(groups: Sequence[Sequence[Path]]) -> list[str]:
    """A short name a group, no two the same."""
    names: list[str] = []
    for position, folders in enumerate(groups, 1):
        paths = [folder.resolve().as_posix() for folder in folders]
        alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*paths, strict=False))
        common = "".join(letters[0] for letters in alike)
        if len(paths) > 1:
            common = _COUNTED.sub("", common)
        name = common.rpartition("/")[2]
        names.append(name if name and name not in names else f"{name or 'arm'} ({position})")
    return names


def compared(arms: Sequence[Arm]) -> Comparison | None:
    """Compares arms in the metric that chose their weights.

    The values are those on the test data where every run has them, else the best ones on the
    validation data.

    Returns:
        The comparison; None where the runs have no common metric, or one has no value of it.
    """
    findings = [finding for arm in arms for finding in arm.findings]
    kinds = {(finding.monitor, finding.mode) for finding in findings}
    if len(kinds) > 1:
        return None
    metric, mode = kinds.pop()
    source: Source = "test"
    if any(finding.tested is None for finding in findings):
        source = "best validation"
    values: dict[str, dict[tuple[int, ...], float]] = {}
    for arm in arms:
        row = {f.run.seeds: f.tested if source == "test" else f.validated for f in arm.findings}
        known = {seeds: value for seeds, value in row.items() if value is not None}
        if len(known) < len(row):
            return None
        values[arm.name] = known
    baseline = values[arms[0].name]
    pairs: dict[str, Paired] = {}
    unpaired: dict[str, int] = {}
    single: dict[str, float] = {}
    failed: dict[Path, tuple[Run, float]] = {}
    for arm in arms[1:]:
        shared = [seeds for seeds in values[arm.name] if seeds in baseline]
        without = [
            (finding.run, values[side.name][finding.run.seeds])
            for side in (arms[0], arm)
            for finding in side.findings
            if finding.run.seeds in shared
            and not math.isfinite(values[side.name][finding.run.seeds])
        ]
        if len(shared) < 2 or without:
            unpaired[arm.name] = len(shared)
            failed |= {run.folder: (run, value) for run, value in without}
            if len(shared) == 1 and not without:
                single[arm.name] = values[arm.name][shared[0]] - baseline[shared[0]]
            continue
        pairs[arm.name] = compare(
            [values[arm.name][seeds] for seeds in shared],
            [baseline[seeds] for seeds in shared],
            mode=mode,
        )
    return Comparison(metric, mode, source, values, pairs, unpaired, single, tuple(failed.values()))


def differences(arms: Sequence[Arm]) -> list[tuple[str, list[str]]]:
    """The settings in which arms differ: the dotted name, and the value of each arm as text.

    Of what one arm has and another has not, such as a teacher, the outermost name is given.
    """
    rows = _differing([arm.first.run.config for arm in arms], "")
    return [row for row in rows if row[0] not in (*SEEDS, *WITHOUT_EFFECT)]


def _differing(values: Sequence[Any], name: str) -> list[tuple[str, list[str]]]:
    if all(value == values[0] for value in values):
        return []
    if all(isinstance(value, dict) for value in values):
        keys = dict.fromkeys(key for value in values for key in value)
        return [
            row
            for key in keys
            for row in _differing([v.get(key) for v in values], f"{name}.{key}" if name else key)
        ]
    lists = all(isinstance(value, list) for value in values)
    if lists and len({len(value) for value in values}) == 1:
        return [
            row
            for position in range(len(values[0]))
            for row in _differing([v[position] for v in values], f"{name}[{position}]")
        ]
    return [(name, [_brief(value) for value in values])]


def _brief(value: Any) -> str:
    """A setting in a few words."""
    if isinstance(value, dict) and "student" in value:  # a link
        between = [_brief(side) for side in (value["student"], value.get("teacher")) if side]
        return f"{_brief(value.get('loss'))} {'<-'.join(between)}"
    if isinstance(value, dict):
        return str(value.get("class_path", "…")).rpartition(".")[2]
    if isinstance(value, list):
        return ", ".join(map(_brief, value)) or "none"
    return "none" if value in (None, "") else shorten(str(value), 40)
