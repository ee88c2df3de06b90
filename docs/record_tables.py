"""The tables of the documentation that are made from the published records."""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from anyteacher.bench.claims import CLAIMS
from anyteacher.bench.evidence import Outcome, against_alone, outcomes
from anyteacher.bench.grid import Scale
from anyteacher.bench.grids import GRIDS, MATRIX, METHODS, QUICK, TEACHER_FREE
from anyteacher.bench.plan import Plan
from anyteacher.bench.problems import problem
from anyteacher.bench.record import read_records
from anyteacher.bench.tables import in_words, with_interval
from anyteacher.losses import Direction

EVIDENCE = Path(__file__).parent / "evidence"
NONE = "–"
_WITH_VERDICTS = (QUICK.name, MATRIX.name, METHODS.name, TEACHER_FREE.name)
DIRECTIONS: tuple[Direction, ...] = ("inverted", "traditional")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


@cache
def published() -> dict[str, Plan]:
    """The grids whose records are published, by name."""
    paths = {name: EVIDENCE / f"{name}.jsonl.gz" for name in GRIDS}
    return {n: Plan(GRIDS[n], read_records(path)) for n, path in paths.items() if path.exists()}


def verdicts() -> str:
    """What the published records of each grid say of each claim of the paper."""
    found = {
        plan.grid.name: {one.claim.name: one for one in outcomes(plan)}
        for plan in (published()[name] for name in _WITH_VERDICTS)
    }
    stated = [*CLAIMS, *(claim for name in found for claim in GRIDS[name].claims)]
    claims = {c.name: c for c in stated if any(c.name in known for known in found.values())}
    header = ["claim", "", *(f"on [`{name}`](evidence/{name}.md)" for name in found)]
    rows = [
        [name, claim.statement, *(_verdict(known.get(name)) for known in found.values())]
        for name, claim in claims.items()
    ]
    return table(header, rows)


def regularisers() -> str:
    """What each regulariser brings by itself, by the published records."""
    plan = published()[TEACHER_FREE.name]
    rows: dict[str, list[str]] = {}
    header = ["regulariser"]
    for found in outcomes(plan):
        task = found.rows[0].comparison.ours.task
        monitor = problem(task).monitor
        header += [f"{task}: weight", f"{monitor}, difference in % of alone", "verdict"]
        for row in found.rows:
            arm = row.comparison.ours
            choice = plan.chosen(arm)
            assert choice is not None
            cells = rows.setdefault(arm.method, [f"`{arm.method}`"])
            cells += [f"{choice.weight:g}", with_interval(*row.relative()), row.verdict]
    return table(header, rows.values())


def _verdict(found: Outcome | None) -> str:
    if found is None:
        return NONE
    counts = "/".join(str(found.count(v)) for v in ("supported", "not supported", "undecided"))
    mean = f"; {in_words(found.mean)} %" if found.mean else ""
    return f"{found.verdict} ({counts}){mean}"


def what_teachers_bring() -> str:
    """What teachers of other tasks, of the same, and random ones bring each task of the matrix."""
    plan = published()[MATRIX.name]
    (scale,) = plan.grid.scales
    kinds = ("another task", "the same task", "random")
    header = ["student", *(f"{kind}: {way}" for kind in kinds for way in DIRECTIONS)]
    rows = []
    for task in plan.grid.tasks:
        others = [teacher for teacher in plan.grid.teachers if teacher != task]
        same = [teacher for teacher in plan.grid.teachers if teacher == task]
        cells = [
            _brought(plan, scale, task, teachers, way)
            for teachers in (others, same, ["random"])
            for way in DIRECTIONS
        ]
        rows.append([task, *cells])
    return table(header, rows)


def _brought(
    plan: Plan, scale: Scale, task: str, teachers: Sequence[str], direction: Direction
) -> str:
    arms = [plan.grid.arm(scale, task, teacher, "inverted", direction) for teacher in teachers]
    found = against_alone(plan, scale, *arms) if arms else None
    if found is None:
        return NONE
    text = in_words(found)
    return text if found.low <= 0 <= found.high else f"**{text}**"
