"""The claims of the paper, as comparisons that are stated before the runs.

Auty, Miles, Kolbeinsson and Mikolajczyk, "Learning to Project for Cross-Task Knowledge
Distillation", 2024 (arXiv 2403.14494).
"""

from dataclasses import dataclass, replace
from typing import Literal

from anyteacher.bench.problems import ROOMS
from anyteacher.bench.variants import VARIANTS
from anyteacher.bench.verdict import Expects
from anyteacher.losses import Direction

Quantity = Literal["metric", "seconds", "memory", "rank"]
Baseline = Literal["alone", "traditional", "unchanged", "same task", "half"]

_METRIC_MARGIN = 0.01
_COST_MARGIN = 0.05
_RANK_MARGIN = 0.05


@dataclass(frozen=True)
class Claim:
    """One claim: for each task, teacher and method, a comparison.

    Attributes:
        name: Short, such as `C1`.
        statement: What is claimed, in a sentence.
        pairs: The student's task and the teacher's, or `random`, or `none`.
        methods: What each is tried with; regularisers where there is no teacher.
        direction: Of the arm that the claim is about.
        variant: Of it, see `anyteacher.bench.variants`.
        baseline: What it is compared with: the student `alone`; the same arm with the `traditional`
            direction and no variant; the arm without its variant, `unchanged`; the same method with
            a teacher of the `same task`; or, of a rank, `half` of what it could be.
        quantity: What is compared: the task's deciding metric on the test data, the seconds of a
            training step, the memory held at most, or the effective rank of the projector at the
            end, as a share of the most it could be.
        expects: How the arm is to compare with the baseline.
        margin: The smallest difference that matters, as a share of the baseline's mean.
        needs: More than this share of the comparisons must be supported for the claim to be; 1 for
            all of them.
        family: Claims of one family are parts of one question, such as which of many methods; the
            levels of their comparisons are those of all of these together. Empty for the claim
            alone.
        seeds: Paired seeds that it asks for. A grid may have fewer; below five nothing is decided.
        paper: What the paper says of the size of it, if anything.
    """

    name: str
    statement: str
    pairs: tuple[tuple[str, str], ...]
    methods: tuple[str, ...] = ("inverted",)
    direction: Direction = "inverted"
    variant: str = ""
    baseline: Baseline = "traditional"
    quantity: Quantity = "metric"
    expects: Expects = "better"
    margin: float = _METRIC_MARGIN
    needs: float = 0.5
    seeds: int = 5
    paper: str = ""
    family: str = ""


OTHER: tuple[tuple[str, str], ...] = tuple((s, t) for s in ROOMS for t in ROOMS if s != t)
SAME: tuple[tuple[str, str], ...] = tuple((task, task) for task in ROOMS)
RANDOM: tuple[tuple[str, str], ...] = tuple(
    (task, "random") for task in ("depth", "relighting", "segmentation")
)
_RANDOM_ELSEWHERE = tuple(
    (task, "random") for task in (*ROOMS, "digits") if (task, "random") not in RANDOM
)
_FEW = (("depth", "segmentation"), ("segmentation", "depth"), ("relighting", "segmentation"))

METHODS: tuple[str, ...] = (
    "fitnet",
    "at",
    "pkt",
    "sp",
    "cc",
    "rkd",
    "vid",
    "ickd",
    "projector_ensemble",
    "simple_recipe",
)
"""Those that the second claim is tried with."""

REGULARISER = "TrailingEnergy(rank=0.25)"
"""The teacher-free loss."""

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1",
        "An inverted projection beats a traditional one where the teacher's task differs.",
        OTHER,
        seeds=10,
        paper="up to 1.9 %",
    ),
    Claim(
        "C1 same task",
        "Where the tasks agree an inverted projection does not beat a traditional one.",
        SAME,
        expects="no better",
        seeds=10,
    ),
    *(
        Claim(
            f"C2 {method}",
            f"An inverted projection beats a traditional one with the method {method}.",
            _FEW,
            methods=(method,),
            seeds=10,
            family="C2",
        )
        for method in METHODS
    ),
    Claim(
        "C3",
        "A random teacher through an inverted projection beats no distillation.",
        RANDOM,
        baseline="alone",
        seeds=10,
        paper="up to 7 %",
    ),
    Claim(
        "C3 traditional",
        "A random teacher through a traditional projection does not beat no distillation.",
        RANDOM,
        direction="traditional",
        baseline="alone",
        expects="no better",
        seeds=10,
    ),
    Claim(
        "C3 elsewhere",
        "A random teacher through an inverted projection beats no distillation on other tasks.",
        _RANDOM_ELSEWHERE,
        baseline="alone",
        seeds=10,
    ),
    Claim(
        "C3 traditional elsewhere",
        "A random teacher through a traditional projection does not beat it on other tasks either.",
        _RANDOM_ELSEWHERE,
        direction="traditional",
        baseline="alone",
        expects="no better",
        seeds=10,
    ),
    Claim(
        "C4",
        "The teacher-free loss beats none on classification.",
        (("classification", "none"), ("digits", "none")),
        methods=(REGULARISER,),
        direction="none",
        baseline="alone",
        needs=1.0,
        seeds=10,
        paper="on ImageNet up to 8.57 % in its first version and 2.3 % in its second",
    ),
    Claim(
        "C4 elsewhere",
        "The teacher-free loss beats none on other tasks.",
        tuple((task, "none") for task in ROOMS if task != "classification"),
        methods=(REGULARISER,),
        direction="none",
        baseline="alone",
        seeds=10,
    ),
    Claim(
        "C5 time",
        "An inverted projection takes no more time to train than a traditional one.",
        OTHER,
        quantity="seconds",
        expects="no worse",
        margin=_COST_MARGIN,
        needs=1.0,
    ),
    Claim(
        "C5 memory",
        "An inverted projection takes no more memory to train than a traditional one.",
        OTHER,
        quantity="memory",
        expects="no worse",
        margin=_COST_MARGIN,
        needs=1.0,
    ),
    Claim(
        "C5 teacher-free time",
        "The teacher-free loss takes no more time to train with than none.",
        (("classification", "none"), ("digits", "none")),
        methods=(REGULARISER,),
        direction="none",
        baseline="alone",
        quantity="seconds",
        expects="no worse",
        margin=_COST_MARGIN,
        needs=1.0,
    ),
    Claim(
        "C5 teacher-free memory",
        "The teacher-free loss takes no more memory to train with than none.",
        (("classification", "none"), ("digits", "none")),
        methods=(REGULARISER,),
        direction="none",
        baseline="alone",
        quantity="memory",
        expects="no worse",
        margin=_COST_MARGIN,
        needs=1.0,
    ),
    Claim(
        "C6",
        "The learned inverted projector is of low rank: below half of what it could be.",
        OTHER,
        baseline="half",
        quantity="rank",
        margin=_RANK_MARGIN,
    ),
    Claim(
        "C6 distance",
        "Its rank is lower for a teacher of another task than for one of the same task.",
        OTHER,
        baseline="same task",
        quantity="rank",
        margin=_RANK_MARGIN,
    ),
)
"""What is decided, in the order of the report."""

RANDOM_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1 random",
        "An inverted projection beats a traditional one where the teacher is random.",
        (*RANDOM, *_RANDOM_ELSEWHERE),
        seeds=16,
    ),
    *(replace(claim, seeds=16) for claim in CLAIMS if claim.name.startswith("C3")),
)
"""Of random teachers alone, over more seeds: what has least to do with the student's task."""

VARIED_PAIRS: tuple[tuple[str, str], ...] = (
    ("depth", "segmentation"),
    ("segmentation", "depth"),
    ("normals", "depth"),
    ("relighting", "segmentation"),
)
"""Pairs of dense tasks: on these the inverted direction was behind before it was varied."""

_AGAINST: tuple[tuple[str, str, Baseline], ...] = (
    ("C1", "a traditional one", "traditional"),
    ("V", "one as the method has it", "unchanged"),
)

VARIED_CLAIMS: tuple[Claim, ...] = tuple(
    Claim(
        f"{short} {name}",
        f"An inverted projection {changed.text} beats {other}.",
        VARIED_PAIRS,
        variant=name,
        baseline=baseline,
        seeds=10,
        family=f"{short} variants",
    )
    for name, changed in VARIANTS.items()
    for short, other, baseline in _AGAINST
)
"""Whether another projector or normalisation makes more of the inverted direction."""
