"""The evidence as a page, as Markdown for the documentation, and as tables for the terminal."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anyteacher.bench.claims import Claim
from anyteacher.bench.evidence import Outcome, Row, against_alone, outcomes
from anyteacher.bench.grid import Scale
from anyteacher.bench.markdown import markdown
from anyteacher.bench.plan import Plan
from anyteacher.bench.problems import problem
from anyteacher.bench.tuning import tuning_section
from anyteacher.images import replacing
from anyteacher.losses import Direction
from anyteacher.report import (
    Block,
    Difference,
    DifferenceMatrix,
    Interval,
    IntervalChart,
    Page,
    Section,
    Table,
    write_page,
)
from anyteacher.report.blocks import Cell
from anyteacher.report.markup import number
from anyteacher.statistics import Paired

_MATRIX_METHOD = "inverted"
_DIRECTIONS: tuple[Direction, ...] = ("inverted", "traditional")

_RULE = """Each comparison is of two arms over the same seeds: the same first weights, the same
training images, in the same order. Its interval is Student's for the mean difference, at the level
that Holm's procedure gives it within its claim, so that the probability of any false "supported" is
at most 5 % for each claim. Differences are in per cent of the baseline, turned so that more is
better. "Better" is supported where the whole interval is above zero, and not supported where it is
below the smallest difference that matters; "no better" the other way round; everything else is
undecided, and so is what lacks seeds or has diverged. A claim is supported where its stated share
of the comparisons is."""

_FAIRNESS = """All students of a task have the same network, steps, schedule and images. The
learning rate and the weight decay are those that were best for the student alone; the weight, the
tap and the form of the features were chosen for each arm by itself. All choices were made on the
validation data, with seeds that no comparison uses. The test data were read once, for the
comparison."""


def make_sections(plan: Plan) -> list[Section]:
    """The parts of the page."""
    found = outcomes(plan)
    return [
        Section("The claims", _one_line(_RULE), [summary(found)]),
        *_matrix_sections(plan),
        *(_claim_section(outcome) for outcome in found),
        *_teachers_section(plan),
        Section("What was chosen", _one_line(_FAIRNESS), [_choices(plan)]),
        *tuning_section(plan),
        Section("What it was run on", "", [_machines(plan)]),
    ]


def write_pages(plan: Plan, folder: Path) -> list[Path]:
    """Writes `GRID-page.html`, and `GRID.md` for the documentation.

    The names differ by more than the ending: a site that is made of the folder has a `GRID.html`
    of its own. The same records give the same files.
    """
    title, intro = _title(plan)
    sections = make_sections(plan)
    page, text = (folder / f"{plan.grid.name}{ending}" for ending in ("-page.html", ".md"))
    write_page(Page(title, intro, sections), page)
    with replacing(text) as temporary:
        temporary.write_text(markdown(title, intro, sections), encoding="utf-8")
    return [page, text]


def _title(plan: Plan) -> tuple[str, str]:
    runs = sum(cell.key in plan.records for cell in plan.possible())
    grid = plan.grid
    return (
        f"The paper's claims, on the grid {grid.name}",
        f"{runs} of {plan.count} runs: {len(grid.tasks)} tasks ({', '.join(grid.tasks)}), students "
        f"`{grid.student}`, teachers `{grid.teacher}`. Settings were chosen over "
        f"{grid.selection_seeds} of the seeds kept for it, and compared over up to {grid.seeds} "
        "others. The claims were stated before the runs.",
    )


def summary(found: Sequence[Outcome]) -> Table:
    """One line a claim."""
    rows: list[list[Cell]] = [
        [
            outcome.claim.name,
            outcome.verdict,
            f"{outcome.count('supported')} / {outcome.count('not supported')} / "
            f"{outcome.count('undecided')}",
            f"{outcome.claim.needs:.0%}",
            in_words(outcome.mean),
            outcome.claim.statement,
        ]
        for outcome in found
    ]
    counts = "comparisons: yes / no / undecided"
    columns = ["claim", "verdict", counts, "needed", "mean difference, %", "statement"]
    note = (
        "The mean is over all comparisons of a claim, with its own 95 % interval over the pairs of "
        "runs. It says what holds on the whole, and decides no verdict."
    )
    return Table(columns, rows, "Verdicts", note)


def in_words(mean: Paired | None) -> str:
    """A mean difference with its interval."""
    if mean is None:
        return "·"
    middle, low, high = (number(value, 2) for value in (mean.mean, mean.low, mean.high))
    return f"{middle} [{low}, {high}]"


def comparisons_table(outcome: Outcome) -> Table:
    """One line a comparison of a claim."""
    claim = outcome.claim
    rows: list[list[Cell]] = []
    for row in outcome.rows:
        mean, low, high = (number(value, 2) for value in row.relative())
        pairs = 0 if row.decision is None else row.decision.paired.seeds
        rows.append(
            [_label(row, claim), f"{mean} [{low}, {high}]" if pairs else "·", pairs, row.verdict]
        )
    return Table(
        ["task, teacher, images", "difference, % of the baseline", "pairs", claim.expects],
        rows,
        claim.name,
        _baseline(claim) + _lacking(outcome.rows),
    )


def _label(row: Row, claim: Claim) -> str:
    """What tells a comparison from the others of its claim."""
    arm = row.comparison.ours
    parts = [arm.task, str(arm.images)]
    if arm.teacher != "none":
        parts[0] = f"{arm.task} from {arm.teacher}"
    if len(claim.methods) > 1:
        parts.insert(1, arm.method)
    return ", ".join(parts)


def _baseline(claim: Claim) -> str:
    quantity = {
        "metric": "the task's deciding metric on the test data",
        "seconds": "the seconds of a training step",
        "memory": "the most memory that was held",
        "rank": "the projector's effective rank, as a share of the most it could be",
    }[claim.quantity]
    way = "" if claim.direction == "none" else f" in the {claim.direction} direction"
    against = {
        "alone": "the student alone",
        "traditional": "the traditional direction",
        "same task": "the teacher of the same task",
        "half": "one half",
    }[claim.baseline]
    costs = claim.quantity in ("seconds", "memory") and claim.baseline == "traditional"
    alike = "Both runs of a pair have the same tap and form. " if costs else ""
    arm = claim.methods[0] if len(claim.methods) == 1 else "each method"
    return (
        f"Compared is {arm}{way} with {against}: {quantity}; more is better. {alike}The smallest "
        f"difference that matters is {claim.margin:.0%}. Intervals are at Holm's levels."
    )


def _lacking(rows: Sequence[Row]) -> str:
    lacking, diverged = sum(row.lacking for row in rows), sum(row.diverged for row in rows)
    missing = f" Pairs of runs that are not made yet: {lacking}." if lacking else ""
    return missing + (f" Pairs of which a run diverged: {diverged}." if diverged else "")


def _claim_section(outcome: Outcome) -> Section:
    claim = outcome.claim
    drawn = [
        Interval(_label(row, claim), *row.relative())
        for row in outcome.rows
        if row.decision is not None and row.baseline
    ]
    blocks: list[Block] = [comparisons_table(outcome)]
    if drawn:
        label = "difference, % of the baseline"
        blocks.insert(0, IntervalChart(f"{claim.name}, by comparison", label, drawn, "max"))
    return Section(f"{claim.name}: {outcome.verdict}", claim.statement, blocks)


def _matrix_sections(plan: Plan) -> list[Section]:
    """Which task teaches which: a section a size of the training set, both directions in it."""
    grid = plan.grid
    teachers = (*grid.teachers, "random")
    sections = []
    for scale in grid.scales:
        tasks = [task for task in grid.tasks if problem(task).target]
        blocks = [
            block
            for direction in _DIRECTIONS
            if (block := _matrix(plan, scale, tasks, teachers, direction)) is not None
        ]
        deepest = max((block.largest() for block in blocks), default=0.0)
        blocks = [replace(block, deepest=deepest) for block in blocks]
        if blocks:
            text = (
                "Every student against the student alone, whose difference is zero. An interval "
                "is at 95 % for its cell alone; bold where it leaves zero out."
            )
            title = f"Which task teaches which, with {scale.images} images"
            sections.append(Section(title, text, blocks))
    return sections


def _matrix(
    plan: Plan,
    scale: Scale,
    tasks: Sequence[str],
    teachers: Sequence[str],
    direction: Direction,
) -> DifferenceMatrix | None:
    values = [
        [_entry(plan, scale, task, teacher, direction) for teacher in teachers] for task in tasks
    ]
    if not any(entry is not None for row in values for entry in row):
        return None
    return DifferenceMatrix(
        tasks,
        teachers,
        values,
        f"{direction}: difference from the student alone, in per cent; more is better",
        "student, teacher",
    )


def _entry(
    plan: Plan, scale: Scale, task: str, teacher: str, direction: Direction
) -> Difference | None:
    arm = plan.grid.arm(scale, task, teacher, _MATRIX_METHOD, direction)
    paired = against_alone(plan, scale, arm) if arm in plan.arms else None
    return None if paired is None else Difference(paired.mean, paired.low, paired.high)


def _teachers_section(plan: Plan) -> list[Section]:
    rows: list[list[Cell]] = []
    for (task, name), cell in plan.teachers.items():
        record = plan.records.get(cell.key)
        if record is not None and record.status == "done":
            metric = record.monitor
            scores = [record.val[metric], record.test[metric]]
            rows.append([task, name, cell.arm.images, cell.budget.steps, metric, *scores])
    if not rows:
        return []
    columns = ["task", "network", "images", "steps", "metric", "validation", "test"]
    text = "Each was trained by `anyteacher fit` on scenes that no student sees."
    return [Section("The teachers", text, [Table(columns, rows, "Scores of the teachers")])]


def _choices(plan: Plan) -> Table:
    rows: list[list[Cell]] = []
    for arm in plan.arms:
        choice = plan.chosen(arm)
        if choice is not None:
            taps = ["·", "·", "·"] if arm.alone else [f"{choice.weight:g}", choice.tap, choice.form]
            rates = [f"{choice.lr:g}", f"{choice.weight_decay:g}"]
            rows.append([arm.task, str(arm.images), arm.name, *rates, *taps])
    columns = ["task", "images", "arm", "lr", "decay", "weight", "tap", "form"]
    return Table(columns, rows, "Settings by validation")


def _machines(plan: Plan) -> Table:
    """How many runs each machine and state of the source has made."""
    counts: dict[tuple[str, ...], int] = {}
    for cell in plan.possible():
        record = plan.records.get(cell.key)
        if record is not None:
            named = ("device", "processor", "PyTorch", "anyteacher")
            key = (*(record.machine.get(name, "") for name in named), record.commit)
            counts[key] = counts.get(key, 0) + 1
    rows: list[list[Cell]] = [[*key, count] for key, count in sorted(counts.items())]
    return Table(["device", "processor", "PyTorch", "anyteacher", "commit", "runs"], rows)


def _one_line(text: str) -> str:
    return " ".join(text.split())
