"""Which runs are made: the claims, on so many images, with such networks, in so many steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from anyteacher.bench.cell import FORMS, Arm, Cell, Choice
from anyteacher.bench.claims import CLAIMS, Claim
from anyteacher.bench.networks import Tap
from anyteacher.bench.problems import Budget, problem
from anyteacher.losses import Direction, Loss
from anyteacher.methods.named import method_named

SELECTION_SEED, TEACHER_SEED = 100, 1000
"""The first seeds of the runs that choose, and of the teachers'."""

_FORM_PARTS = ("compare", "student_norm", "teacher_norm")


@dataclass(frozen=True)
class Scale:
    """A size of the training set, and how long students train on it.

    Attributes:
        images: Training scenes of the rooms.
        budget: For students of the rooms.
        digits: Training images of the digits.
        digits_budget: For students of the digits.
    """

    images: int
    budget: Budget
    digits: int
    digits_budget: Budget

    def of(self, task: str) -> tuple[int, Budget]:
        """Training images and budget of a task."""
        if problem(task).target:
            return self.images, self.budget
        return self.digits, self.digits_budget


@dataclass(frozen=True)
class Grid:
    """All that is run, from which claims on which tasks and teachers to what is chosen among.

    Attributes:
        name: In the command.
        claims: Those that are tried.
        tasks: Of the students; what claims say of others is left out.
        teachers: Tasks of the trained teachers, likewise.
        methods: Likewise; empty for all.
        scales: Sizes of the training set.
        student: Name of the students' network.
        teacher: Name of the teachers' network.
        also_trained: Names of further networks that are trained as teachers, for their scores.
        teacher_images: Training scenes of a teacher.
        teacher_budget: How long teachers train.
        teacher_lr: Learning rate of the teachers, for which nothing is chosen.
        seeds: Of the comparison; at most as many as a claim asks for, where given.
        selection_seeds: Of the runs that choose.
        lrs: Learning rates, chosen for the student alone and kept.
        decays: Weight decays, likewise.
        weights: Factors of each method's own weight, chosen with the first tap and form.
        taps: Which features, chosen with that weight, together with the form.
        forms: How they are compared, where the method allows it.
        image_forms: Further ones for tasks with one answer an image, which need not know where.
        first_seed: Of the comparison.
        further: How often a further weight is tried where the best so far is the smallest or the
            largest.
    """

    name: str
    tasks: tuple[str, ...]
    teachers: tuple[str, ...]
    scales: tuple[Scale, ...]
    student: str
    teacher: str
    teacher_images: int
    teacher_budget: Budget
    teacher_lr: float
    seeds: int
    selection_seeds: int
    lrs: tuple[float, ...]
    decays: tuple[float, ...]
    weights: tuple[float, ...]
    taps: tuple[Tap, ...]
    forms: tuple[str, ...]
    claims: tuple[Claim, ...] = CLAIMS
    methods: tuple[str, ...] = ()
    also_trained: tuple[str, ...] = ()
    image_forms: tuple[str, ...] = ()
    first_seed: int = 0
    further: int = 0

    def compared_seeds(self, count: int) -> range:
        """The seeds of a comparison over so many."""
        return range(self.first_seed, self.first_seed + count)

    def comparisons(self, claim: Claim) -> list["Comparison"]:
        """What a claim compares, of what the grid has; in the order of the claim."""
        return [
            Comparison(scale, ours, self._baseline(claim, scale, ours))
            for scale in self.scales
            for (task, teacher), method in product(claim.pairs, claim.methods)
            if self._has(task, teacher, method)
            for ours in [
                self.arm(scale, task, teacher, method, claim.direction, variant=claim.variant)
            ]
        ]

    def _has(self, task: str, teacher: str, method: str) -> bool:
        return (
            task in self.tasks
            and (teacher in ("none", "random") or teacher in self.teachers)
            and (not self.methods or method in self.methods)
        )

    def arm(
        self,
        scale: Scale,
        task: str,
        teacher: str = "none",
        method: str = "",
        direction: Direction = "none",
        *,
        variant: str = "",
    ) -> Arm:
        """An arm with the networks of the grid; the student alone where only the task is given."""
        images, _ = scale.of(task)
        theirs = "" if teacher == "none" else self.teacher
        return Arm(task, images, self.student, teacher, theirs, method, direction, variant)

    def _baseline(self, claim: Claim, scale: Scale, ours: Arm) -> Arm | None:
        if claim.baseline == "half":
            return None
        if claim.baseline == "alone":
            return self.arm(scale, ours.task)
        if claim.baseline == "traditional":
            return replace(ours, direction="traditional", variant="")
        if claim.baseline == "unchanged":
            return replace(ours, variant="")
        return replace(ours, teacher=ours.task)

    def arms(self) -> dict[Arm, tuple[Scale, int]]:
        """Every arm with its scale and how many seeds it is compared over, the simplest first."""
        found: dict[Arm, tuple[Scale, int]] = {}
        for claim in self.claims:
            for comparison in self.comparisons(claim):
                scale, ours = comparison.scale, comparison.ours
                # The student alone too, whose learning rate the others take.
                for arm in (self.arm(scale, ours.task), comparison.baseline or ours, ours):
                    seeds = min(self.seeds, claim.seeds)
                    known = found.get(arm, (scale, 0))[1]
                    found[arm] = (scale, max(seeds, known))
        return dict(sorted(found.items(), key=lambda item: not item[0].alone))

    def teacher_cells(self) -> dict[tuple[str, str], Cell]:
        """The runs that train the teachers, by their task and network."""
        cells = {}
        for task, name in product(self.teachers, (self.teacher, *self.also_trained)):
            arm = Arm(task, self.teacher_images, name)
            cells[task, name] = Cell(
                "teacher", arm, Choice(lr=self.teacher_lr), TEACHER_SEED, self.teacher_budget
            )
        return cells

    def choices(self, arm: Arm, base: Choice) -> list[Choice]:
        """What is chosen among first for an arm, given what was chosen for the student alone.

        The weight, with the first tap and the first form.
        """
        if arm.alone:
            return [Choice(lr, decay) for lr, decay in product(self.lrs, self.decays)]
        tap, form = self._places(arm)[0]
        return [replace(base, weight=weight, tap=tap, form=form) for weight in self.weights]

    def wider_choices(self, arm: Arm, tried: Sequence[Choice], best: Choice) -> list[Choice]:
        """What is tried in addition where the best weight so far is the smallest or the largest.

        As far beyond it as it is from its neighbour, as a factor. Nothing where the best lies
        between others, or so many were added before.
        """
        weights = sorted(choice.weight for choice in tried)
        if arm.alone or not 1 < len(weights) < len(self.weights) + self.further:
            return []
        return [
            replace(best, weight=float(f"{end * end / neighbour:.3g}"))
            for end, neighbour in (weights[:2], weights[:-3:-1])
            if best.weight == end
        ]

    def further_choices(self, arm: Arm, best: Choice) -> list[Choice]:
        """What is tried then, given the best of those: the other taps and forms, with its weight.

        Every arm has as many tries as any other of the task whose method allows the same forms.
        """
        if arm.alone:
            return []
        return [replace(best, tap=tap, form=form) for tap, form in self._places(arm)[1:]]

    def _places(self, arm: Arm) -> list[tuple[Tap, str]]:
        possible, forms = possible_forms(arm), self.forms
        if problem(arm.task).kind != "dense":
            forms += self.image_forms
        return list(product(self.taps, [form for form in forms if form in possible]))


@dataclass(frozen=True)
class Comparison:
    """Two arms that differ in one thing; without a baseline one arm against a number."""

    scale: Scale
    ours: Arm
    baseline: Arm | None


def possible_forms(arm: Arm) -> list[str]:
    """The forms that an arm's method allows; of those that come to the same, the first."""
    if arm.teacher == "none":
        return ["own"]
    links = method_named(arm.method)("a", "b", direction=arm.direction)
    anything = all(isinstance(link.loss, Loss) and link.loss.form == "any" for link in links)
    own = [{part: getattr(link, part) for part in _FORM_PARTS} for link in links]
    found: dict[str, list[dict[str, str]]] = {}
    for form, changes in FORMS.items():
        changed = [{**parts, **changes} for parts in own]
        if (anything or "compare" not in changes) and changed not in found.values():
            found[form] = changed
    return list(found)
