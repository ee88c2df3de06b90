"""The tables of the documentation that are made from the published records."""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from anyteacher.bench.claims import (
    CLAIMS,
    METHODS,
    REGULARISER,
    VARIED_PAIRS,
    Baseline,
    Claim,
)
from anyteacher.bench.evidence import Outcome, outcome, outcomes
from anyteacher.bench.grid import Scale
from anyteacher.bench.grids import AMPLE, GRIDS, PAIRS
from anyteacher.bench.pairs import against_alone
from anyteacher.bench.plan import Plan
from anyteacher.bench.problems import problem
from anyteacher.bench.record import read_records
from anyteacher.bench.tables import in_words, with_interval
from anyteacher.bench.variants import VARIANTS
from anyteacher.losses import Direction
from anyteacher.statistics import Paired

EVIDENCE = Path(__file__).parent / "evidence"
NONE = "–"
_WITH_VERDICTS = ("quick", "matrix", "random-teachers", "methods", "teacher-free")
_VARIED = {
    "as in the matrix": "matrix",
    f"{AMPLE.scales[0].images} training images": "ample",
    "narrower students": "narrow",
    "smaller teachers": "small-teachers",
    "weaker teachers": "weak",
}
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
    plan = published()["teacher-free"]
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
    plan = published()["matrix"]
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
    return _bold(against_alone(plan, scale, *arms) if arms else None)


def what_methods_do() -> str:
    """Each of the ten methods in both directions, over the pairs of tasks of its grid."""
    plan = published()["methods"]
    header = ["method", *(f"{ours} against {other}" for ours, other in _AGAINST)]
    rows = []
    for method in METHODS:
        (claim,) = (c for c in plan.grid.claims if c.methods == (method,))
        means = [
            _mean(plan, claim.pairs, ours, other, method=method, seeds=plan.grid.seeds)
            for ours, other in _AGAINST
        ]
        rows.append([f"`{method}`", *map(_bold, means)])
    return table(header, rows)


_AGAINST: tuple[tuple[Direction, Baseline], ...] = (
    ("inverted", "traditional"),
    ("inverted", "alone"),
    ("traditional", "alone"),
)


def what_is_varied() -> str:
    """The same comparisons in grids that differ from the matrix in one thing, over as many seeds.

    Those whose records are published.
    """
    random, alone = (tuple((t, other) for t, _ in PAIRS) for other in ("random", "none"))
    header = [
        "",
        *(f"{ours} against {other}" for ours, other in _AGAINST),
        "random teacher, inverted, against alone",
        "teacher-free against alone",
    ]
    rows = []
    for text, name in _VARIED.items():
        if name not in published():
            continue
        plan = published()[name]
        means = (
            *(_mean(plan, PAIRS, ours, other) for ours, other in _AGAINST),
            _mean(plan, random, "inverted", "alone"),
            _mean(plan, alone, "none", "alone", method=REGULARISER),
        )
        rows.append([f"[{text}](evidence/{name}.md)", *map(_bold, means)])
    return table(header, rows)


def what_variants_do() -> str:
    """The inverted direction with other projectors and norms, on dense pairs."""
    plan = published()["variants"]
    against: tuple[Baseline, ...] = ("alone", "unchanged", "traditional")
    header = ["inverted projection", *(f"against {other}" for other in against)]
    rows = []
    texts = {name: variant.text for name, variant in VARIANTS.items()}
    for name, text in {"": "as the method has it", **texts}.items():
        means = [
            None
            if not name and other == "unchanged"
            else _mean(plan, VARIED_PAIRS, "inverted", other, variant=name)
            for other in against
        ]
        rows.append([text, *map(_bold, means)])
    traditional = _mean(plan, VARIED_PAIRS, "traditional", "alone")
    rows.append(["for comparison, a traditional one", _bold(traditional), NONE, NONE])
    return table(header, rows)


def _mean(
    plan: Plan,
    pairs: tuple[tuple[str, str], ...],
    direction: Direction,
    baseline: Baseline,
    *,
    method: str = "inverted",
    variant: str = "",
    seeds: int = AMPLE.seeds,
) -> Paired | None:
    """The mean difference over pairs of tasks in per cent; None where a grid lacks one of them."""
    claim = Claim("", "", pairs, (method,), direction, variant, baseline, seeds=seeds)
    compared = plan.grid.comparisons(claim)
    if not compared or any(one.ours not in plan.arms for one in compared):
        return None
    return outcome(plan, claim).mean


def _bold(found: Paired | None) -> str:
    """In words; bold where the interval leaves zero out."""
    if found is None:
        return NONE
    text = in_words(found)
    return text if found.verdict == "undecided" else f"**{text}**"
