"""The evidence as a page, as Markdown for the documentation, and as tables for the terminal."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

from anyteacher.bench.evidence import Outcome, outcomes
from anyteacher.bench.grid import Scale
from anyteacher.bench.markdown import markdown
from anyteacher.bench.pairs import against_alone, value_of
from anyteacher.bench.plan import Plan
from anyteacher.bench.problems import problem
from anyteacher.bench.ranks import ranks_section
from anyteacher.bench.tables import choices, comparisons_table, label, machines, summary, tried
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

_MATRIX_METHOD = "inverted"
_DIRECTIONS: tuple[Direction, ...] = ("inverted", "traditional")

_RULE = """Each comparison is of two arms over the same seeds: the same first weights, the same
training images, in the same order. Its interval is Student's for the mean difference, at the level
that Holm's procedure gives it within its claim, or within several that are parts of one question,
such as which of many methods, so that the probability of any false "supported" among them is at
most 5 %. Differences are in per cent of the baseline, turned so that more is
better. "Better" is supported where the whole interval is above zero, and not supported where it is
below the smallest difference that matters: a better one is then ruled out; "no better" the other
way round. An interval between the
two supports both: a difference that is there and does not matter. Everything else is undecided, and
so is what lacks seeds or has diverged. A claim is supported where more than its stated share of the
comparisons is. The claims were stated before any run that is compared."""

_SOURCE = (
    "The key of a run is made of all its settings and of what methods make of them: runs of other "
    "states of the source are of the same settings. The code behind them may differ; the commits "
    "tell which."
)

_FAIRNESS = """All students of a task have the same network, steps, schedule and images. The
learning rate and the weight decay are those that were best for the student alone; all else was
chosen for each arm by itself. All choices were made on the validation data, with seeds that no
comparison of a metric uses. The test data were read once, for the comparison. The weight is a
factor of the method's own. A tap is `deep` at the last features before the head or the decoder, and
`middle` at those of twice the resolution, or of half the depth. The form `own` is the method's.
Tried were"""


def make_sections(plan: Plan) -> list[Section]:
    """The parts of the page."""
    found = outcomes(plan)
    return [
        Section("The claims", _one_line(_RULE), [summary(found)]),
        *_matrix_sections(plan),
        *(_claim_section(outcome) for outcome in found),
        *_teachers_section(plan),
        _alone_section(plan),
        *ranks_section(plan),
        Section("What was chosen", f"{_one_line(_FAIRNESS)} {tried(plan)}.", [choices(plan)]),
        *_left_section(plan),
        *tuning_section(plan),
        Section("What it was run on", _SOURCE, [machines(plan)]),
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
    grid = plan.grid
    taught = any(arm.teacher != "none" for arm in plan.arms)
    teachers = f", teachers `{grid.teacher}`" if taught else ""
    return (
        f"The paper's claims, on the grid {grid.name}",
        f"{len(plan.made())} of {plan.count} runs: {len(grid.tasks)} tasks "
        f"({', '.join(grid.tasks)}), students `{grid.student}`{teachers}. Settings are chosen over "
        f"{_counted(grid.selection_seeds, 'seed')}, and are compared over up to "
        f"{_counted(grid.seeds, 'other')}.",
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _claim_section(outcome: Outcome) -> Section:
    claim = outcome.claim
    drawn = [
        Interval(label(row, claim), *row.relative())
        for row in outcome.rows
        if row.enough and row.baseline
    ]
    blocks: list[Block] = [comparisons_table(outcome)]
    if drawn:
        scale = "difference, % of the baseline"
        blocks.insert(0, IntervalChart(f"{claim.name}, by comparison", scale, drawn, "max"))
    text = f"{claim.statement} In the paper: {claim.paper}." if claim.paper else claim.statement
    return Section(f"{claim.name}: {outcome.verdict}", text, blocks)


def _matrix_sections(plan: Plan) -> list[Section]:
    """Which task teaches which: a section a size of the training set, both directions in it."""
    grid = plan.grid
    taught = {arm.teacher for arm in plan.arms}
    teachers = [teacher for teacher in (*grid.teachers, "random") if teacher in taught]
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
    paired = against_alone(plan, scale, arm)
    return None if paired is None else Difference(paired.mean, paired.low, paired.high)


def _alone_section(plan: Plan) -> Section:
    rows: list[list[Cell]] = []
    for arm in plan.arms:
        records = list(plan.compared(arm).values())
        values = [value_of(record, "metric") for record in records if record.status == "done"]
        if arm.alone and len(values) > 1:
            metric = f"{records[0].monitor}, {records[0].mode}"
            scores = [fmean(values), stdev(values), len(values), len(records) - len(values)]
            rows.append([arm.task, arm.images, arm.student, metric, *scores])
    columns = ["task", "images", "network", "deciding metric", "mean", "deviation"]
    columns += ["seeds", "diverged"]
    text = "Their deciding metrics on the test data, to which what others bring is relative."
    return Section("The students alone", text, [Table(columns, rows, "Scores of the students")])


def _left_section(plan: Plan) -> list[Section]:
    """The arms that are never compared, once nothing is left to run."""
    left = plan.never_compared()
    if not left:
        return []
    text = "Their teacher, or all of their choices, diverged. They count as undecided."
    rows: list[list[Cell]] = [[arm.task, arm.images, arm.name] for arm in left]
    return [Section("What cannot be compared", text, [Table(["task", "images", "arm"], rows)])]


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


def _one_line(text: str) -> str:
    return " ".join(text.split())
