"""Which runs a chart sets against each other: of all arms, those of the same seeds."""

from collections.abc import Mapping, Sequence

from anyteacher.findings.run import Finding

Groups = Mapping[str, Sequence[Finding]]


def alike(groups: Groups) -> dict[str, list[Finding]]:
    """The runs of the seeds that all arms have; every run where there is no such seed.

    Args:
        groups: By the arm's name, the runs of which there is something to show, in the order of
            their seeds. An arm without any takes no part.
    """
    shared = _shared(groups)
    return {
        name: [finding for finding in group if not shared or finding.run.seeds in shared]
        for name, group in groups.items()
    }


def mean_text(groups: Groups) -> str:
    """What a chart of the means over `alike` says of its seeds; nothing of one run alone."""
    there = {name: group for name, group in groups.items() if group}
    kept = alike(there)
    if len(there) > 1 and not _shared(there):
        return (
            "The arms share no seed, and means over different seeds compare less well: each line "
            f"is that of its own arm's ({_own(there)})."
        )
    first = next(iter(kept.values()), [])
    if len(there) < 2:
        return f"Mean over {seeds_text(first)}." if len(first) > 1 else ""
    mean = "Mean over" if len(first) > 1 else "Of"
    text = f"{mean} {seeds_text(first)}, which {_all(groups)} have."
    if any(len(group) > len(first) for group in there.values()):
        text += " Other seeds of some arms are left out, so that the lines compare."
    return text


def first_text(groups: Groups) -> str:
    """What a chart of the first run of each arm in `alike` says of its seeds."""
    there = {name: group[:1] for name, group in alike(groups).items() if group}
    if not _shared(groups):
        return f"The arms share no seed: each is shown by its own first ({_own(there)})."
    (first, *_) = there.values()
    return f"Of {seeds_text(first)}, the first that {_all(groups)} have."


def seeds_text(findings: Sequence[Finding]) -> str:
    """The seeds of runs in few words: `seed 3`, `seeds 0 to 4`, `seeds 0 and 2`."""
    texts = [finding.run.seed_text for finding in findings]
    if len(texts) == 1:
        return f"seed {texts[0]}"
    plain = all(text.isdigit() for text in texts)
    if plain and len(texts) > 2 and int(texts[-1]) - int(texts[0]) == len(texts) - 1:
        return f"seeds {texts[0]} to {texts[-1]}"
    # One with a seed of its data holds a comma itself.
    listed = (", " if plain else "; ").join(texts[:-1])
    return f"seeds {listed} and {texts[-1]}"


def _shared(groups: Groups) -> set[tuple[int, ...]]:
    seeds = [{finding.run.seeds for finding in group} for group in groups.values() if group]
    return set.intersection(*seeds) if seeds else set()


def _all(groups: Groups) -> str:
    if not all(groups.values()):
        return "all arms with a line"
    return "both arms" if len(groups) == 2 else "all arms"


def _own(groups: Groups) -> str:
    return "; ".join(f"{name}: {seeds_text(group)}" for name, group in groups.items())
