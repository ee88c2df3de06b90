"""How many directions projectors use, by their teacher and direction: a control for the rank."""

from statistics import fmean

from anyteacher.bench.cell import Arm
from anyteacher.bench.plan import Plan
from anyteacher.bench.record import Record
from anyteacher.report import Section, Table
from anyteacher.report.blocks import Cell

_TEXT = (
    "The effective rank of the projectors at the first look, before they have learned much, and at "
    "the end, as a share of the most it could be: the mean over those of the comparison, with "
    "the settings that were chosen for them. A low rank says something of a teacher only where a "
    "random one has a higher one, and something of a direction only where the other has."
)


def rank_shares(record: Record) -> list[tuple[float, float]]:
    """Of each projector of a run the effective rank at the first and at the last look.

    As shares of the most it could be; nothing where the run is not done.
    """
    if record.status != "done":
        return []
    return [
        (curve[0][1] / most, curve[-1][1] / most)
        for name, curve in record.curves.items()
        if name.endswith("/projector_rank")
        for most in [record.curves[f"{name.rpartition('/')[0]}/directions"][-1][1]]
    ]


def ranks_section(plan: Plan) -> list[Section]:
    """A section with a line a kind of teacher and direction; none where nothing is projected."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for arm in plan.arms:
        if arm.teacher != "none" and not arm.variant:
            shares = [
                share for record in plan.compared(arm).values() for share in rank_shares(record)
            ]
            found.setdefault((_kind(arm), arm.direction), []).extend(shares)
    rows: list[list[Cell]] = [
        [kind, direction, fmean(a for a, _ in shares), fmean(b for _, b in shares), len(shares)]
        for (kind, direction), shares in sorted(found.items())
        if shares
    ]
    if not rows:
        return []
    columns = ["teacher", "direction", "at first", "in the end", "projectors"]
    return [Section("The ranks of the projectors", _TEXT, [Table(columns, rows, decimals=2)])]


def _kind(arm: Arm) -> str:
    if arm.teacher == "random":
        return "random"
    return "the same task" if arm.teacher == arm.task else "another task"
