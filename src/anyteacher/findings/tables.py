"""What was measured of every link and seed of an arm, as tables."""

from anyteacher.analysis import Measured
from anyteacher.findings.arms import Arm
from anyteacher.findings.figures import percent
from anyteacher.report import Table


def seeds_tables(arm: Arm) -> list[Table]:
    """The measurements of every link, a row for each link and seed: taught ones, then the others.

    What exists for none of a table is left out of it.
    """
    links = [] if arm.shown.analysis is None else arm.shown.analysis.links
    taught = [link.name for link in links if link.teacher is not None]
    alone = [link.name for link in links if link.teacher is None]
    if not (taught and alone):
        return [_seeds_table(arm, taught or alone, len(links) > 1, "")]
    return [
        _seeds_table(arm, taught, True, ": links to a teacher"),
        _seeds_table(arm, alone, True, ": links without a teacher"),
    ]


def _seeds_table(arm: Arm, links: list[str], several: bool, kind: str) -> Table:
    rows = [
        [
            f"{f'{name}, ' if several else ''}{finding.run.seed_text}",
            *_cells(measured, linked=finding.linked),
        ]
        for name in links
        for finding in arm.findings
        if finding.analysis is not None
        for measured in finding.analysis.links
        if measured.name == name
    ]
    names = ["link and seed" if several else "seed", *_NUMBERS]
    shown = [place for place in range(len(names)) if any(row[place] != _NONE for row in rows)]
    notes = [_NUMBERS[names[place]] for place in shown if _NUMBERS.get(names[place])]
    if any("free" in row[names.index("regulariser")] for row in rows):
        notes.insert(0, _FREE)
    return Table(
        [names[place] for place in shown],
        [[row[place] for place in shown] for row in rows],
        f"Every seed, on its validation images{kind}",
        " ".join(notes),
    )


_NONE = "–"
_FREE = (
    "The free directions are the strongest ones of the feature: found anew in every batch, or "
    "followed from batch to batch."
)
# By the name of a column, what a reader must know of it.
_NUMBERS = {
    "regulariser": "",
    "weight": "Weight is the factor of the loss, the link's own times `distillation.weight`; a "
    "link of weight 0 is looked at, and changes nothing.",
    "transfer": "Transfer and regularisation are the two terms of the loss, as mean squared errors "
    "per element.",
    "regularisation": "",
    "projector's rank": "",
    "student's rank": "Ranks are effective ranks, of the student's centred feature.",
    "CKA": "CKA is of the student's and the teacher's feature, before any projection.",
    "dropped": "Dropped are directions of the teacher of which less than half is kept, with their "
    "share of its energy; recovered is the share of its whole energy that is kept.",
    "recovered": "",
}


def _cells(measured: Measured, *, linked: bool) -> list[str]:
    terms, found = measured.decomposition, measured.directions
    dropped = _NONE
    if found is not None:
        count = f"{int(found.dropped.sum())} of {len(found.teacher)}"
        dropped = f"{count} ({percent(found.energy_dropped)})"
    return [
        (linked and measured.regularizer) or _NONE,
        f"{measured.weight:.4g}" if linked else _NONE,
        _NONE if terms is None else f"{float(terms.transfer):.4g}",
        _NONE if terms is None else f"{float(terms.regularisation):.4g}",
        _NONE if terms is None else f"{float(terms.projector_rank):.1f}",
        f"{measured.student_rank:.1f}",
        _NONE if measured.cka is None else f"{measured.cka:.3f}",
        dropped,
        _NONE if found is None else percent(found.recovered),
    ]
