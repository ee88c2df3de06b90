"""The page of one or several runs: the results first, then what the features are like."""

from collections.abc import Iterable, Sequence

from anyteacher.analysis import Measured
from anyteacher.findings import curves, figures
from anyteacher.findings.arms import Arm, Comparison
from anyteacher.findings.detail import LEVELS, Detail
from anyteacher.findings.results import results
from anyteacher.findings.run import Finding
from anyteacher.findings.seeds import alike, first_text
from anyteacher.findings.tables import seeds_tables
from anyteacher.report import Block, Facts, Page, Section, machine_facts


def make_page(
    arms: Sequence[Arm],
    comparison: Comparison | None,
    differing: Sequence[tuple[str, list[str]]],
    detail: Detail = LEVELS[0],
) -> Page:
    """The whole page.

    Args:
        arms: The runs, grouped.
        comparison: Of the arms in the metric that decides; None where there is no common one.
        differing: The settings in which arms differ, with the value of each arm.
        detail: How much is drawn.
    """
    runs = [finding for arm in arms for finding in arm.findings]
    counted = f"{len(runs)} runs in {len(arms)} arms" if len(runs) > 1 else "One run"
    taught = any(m.teacher is not None for finding in runs for m in _links(finding))
    own = "students'" if len(runs) > 1 else "student's"
    what = "What the projectors do with the" if taught else f"What the {own}"
    intro = (
        f"{counted}. {what} features{'' if taught else ' are like'}, measured with each run's best "
        "weights on its validation images, and what was logged while they trained."
    )
    if len(runs) > 1:
        intro += "\n\nRuns that differ in their seeds alone are one arm."
    sections = [results(arms, comparison, differing, detail)]
    if len(arms) > 1:
        sections += _side_by_side(arms, detail)
    for arm in arms:
        sections += _arm(arm, detail, alone=len(arms) == 1)
    sections.append(Section("How it was measured", _reduced(detail), [_facts(runs)]))
    title = arms[0].name if len(arms) == 1 else ", ".join(arm.name for arm in arms)
    return Page(f"Analysis of {title}", intro, sections)


def _side_by_side(arms: Sequence[Arm], detail: Detail) -> list[Section]:
    """The student's features at the same taps, an arm a line."""
    taps: dict[str, dict[str, str]] = {}  # by tap, the link of each arm that looks at it
    for arm in arms:
        for measured in _links(arm.shown):
            taps.setdefault(measured.student_tap, {}).setdefault(arm.name, measured.name)
    blocks: list[Block | None] = []
    for tap, links in taps.items():
        if len(links) < 2:
            continue
        seen = {
            arm.name: [f for f in arm.findings if _named(f, links[arm.name]) is not None]
            for arm in arms
            if arm.name in links
        }
        shown = {name: _named(found[0], links[name]) for name, found in alike(seen).items()}
        blocks.append(
            figures.energy_chart(
                {name: measured.student for name, measured in shown.items() if measured},
                f"The student's {tap}: energy by principal direction",
                detail.points,
                first_text(seen),
            )
        )
        note = "Of the centred feature on one batch."
        if any(not finding.linked for found in seen.values() for finding in found):
            note += " Arms without a link there logged none."
        blocks.append(
            curves.between_arms(
                arms,
                {name: f"spectra/{link}/centred_rank" for name, link in links.items()},
                f"The student's {tap}: effective rank during training",
                "effective rank, in directions",
                points=detail.points,
                note=note,
            )
        )
    drawn = _drawn(blocks)
    text = "The student's features at the same place, an arm a line."
    return [Section("Side by side", text, drawn)] if drawn else []


def _arm(arm: Arm, detail: Detail, *, alone: bool) -> list[Section]:
    """One section of an arm with one link; else one of the arm, and one for each link."""
    shown, analysis = arm.shown, arm.shown.analysis
    title = "The features" if alone else f"The features of {arm.name}"
    said = [
        f"The features of `{finding.run.folder.as_posix()}` were not measured: {finding.failure}"
        for finding in arm.findings
        if finding.failure
    ]
    if analysis is None:
        if not shown.linked:
            said.append("It has no links: none of its features is compared or regularised.")
        return [Section(title, "\n\n".join(said))]
    if len(arm.findings) > 1:
        said.append(
            f"Curves are means over {len(arm.findings)} seeds. Charts of the final features, and "
            f"pictures, are of seed {shown.run.seed_text}; the table has every seed."
        )
    if not shown.linked:
        said.append(
            "It has no links: the student's features are shown at the taps of the other arms."
        )
    elif all(measured.teacher is None for measured in analysis.links):
        said.append(
            "There is no teacher: its links are of the student's features alone, and so is what "
            "is shown. There is no projector, and no direction of a teacher."
        )
    common: list[Block | None] = [
        *seeds_tables(arm),
        figures.alignment(analysis),
        figures.components(analysis, detail),
    ]
    if len(analysis.links) == 1:
        (measured,) = analysis.links
        text = "\n\n".join(said + _missing(arm, measured))
        return [Section(title, text, _drawn([*_of_link(arm, measured, detail), *common]))]
    sections = [Section(title, "\n\n".join(said), _drawn(common))]
    for measured in analysis.links:
        text = "\n\n".join(_missing(arm, measured))
        blocks = _drawn(_of_link(arm, measured, detail))
        sections.append(Section(f"{title}: {measured.name}", text, blocks))
    return sections


def _of_link(arm: Arm, measured: Measured, detail: Detail) -> list[Block | None]:
    return [
        curves.terms(arm, measured.name, detail.points),
        curves.spectrum(arm, measured.name),
        curves.ranks(arm, measured.name, detail.points),
        figures.directions(measured),
        figures.energies(measured, detail.points),
    ]


def _missing(arm: Arm, measured: Measured) -> list[str]:
    """What the reader will look for in vain, and why."""
    said = _idle(measured) if arm.first.linked else []
    taught = measured.teacher is not None
    if arm.first.linked:
        if not curves.is_logged(arm, measured.name):
            said.append(
                "Nothing of its spectra was logged, so there are no curves: it was trained with "
                "`observe_every` 0, or by an older version."
            )
        if taught and measured.direction == "none":
            said.append("Nothing is projected: no direction of the teacher is kept or dropped.")
        elif taught and measured.decomposition is None:
            why = "The student's and the teacher's feature have different positions"
            if measured.rank is None:
                why = f"{measured.projector or 'Its projection'} is not one matrix"
            said.append(f"{why}: the loss has no two terms, and no singular values were logged.")
    if not measured.pictures:
        said.append("It compares one vector an image, so there are no pictures of components.")
    return said


def _idle(measured: Measured) -> list[str]:
    """What a link of weight 0 was there for."""
    if measured.weight:
        return []
    text = (
        "The link has weight 0, its own times `distillation.weight`: it is looked at, and the "
        "student trained as it would without it."
    )
    if measured.projector:
        text += " Its projector got no gradient either."
    return [text]


def _named(finding: Finding, link: str) -> Measured | None:
    """What was measured of a link; None where it was not."""
    return next((measured for measured in _links(finding) if measured.name == link), None)


def _links(finding: Finding) -> list[Measured]:
    return [] if finding.analysis is None else finding.analysis.links


def _reduced(detail: Detail) -> str:
    """What is left out for the sake of the page's size."""
    if detail == LEVELS[0]:
        return ""
    pictures = f"{detail.samples} sample images, pictures of at most {detail.edge} pixels a side"
    return (
        f"There are so many runs and links that the page shows less of each: lines of "
        f"{detail.points} points, {pictures if detail.samples else 'no pictures'}."
    )


def _facts(runs: Sequence[Finding]) -> Facts:
    counts = sorted({f.analysis.images for f in runs if f.analysis is not None}) or [0]
    taught = any(m.teacher is not None for finding in runs for m in _links(finding))
    projectors = ", the projectors' of the same step" if taught else ""
    shown = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return Facts(
        {
            **{finding.run.folder.as_posix(): f"seed {finding.run.seed_text}" for finding in runs},
            "validation images": f"{shown} a run, in whole batches",
            "weights": f"the best on the validation data{projectors}",
            **machine_facts(),
        }
    )


def _drawn(blocks: Iterable[Block | None]) -> list[Block]:
    return [block for block in blocks if block is not None]
