"""One run of the benchmark: what decides its result, as settings of `anyteacher fit` and a hash."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from typing import Any, Literal

from anyteacher import projectors, regularizers
from anyteacher.bench.networks import Tap
from anyteacher.bench.problems import Budget, made_of, problem
from anyteacher.bench.variants import variant
from anyteacher.distillation import Distillation
from anyteacher.errors import ConfigError, did_you_mean
from anyteacher.experiment import STUDENT
from anyteacher.link import Link
from anyteacher.losses import Direction
from anyteacher.methods.about import known
from anyteacher.methods.named import method_named, written_call

RUNS, RECORDS = "runs", "records"
_LOOKS_AT_FEATURES = 10

FORMS: dict[str, dict[str, str]] = {
    "own": {},
    "pooled": {"compare": "pooled"},
    "positions": {"compare": "positions"},
    "batch": {"student_norm": "batch", "teacher_norm": "batch"},
    "pooled, batch": {"compare": "pooled", "student_norm": "batch", "teacher_norm": "batch"},
    "positions, batch": {"compare": "positions", "student_norm": "batch", "teacher_norm": "batch"},
}
"""What of the features is compared and how it is normalised, in place of the method's own."""


@dataclass(frozen=True)
class Arm:
    """Runs that are compared with others: what is decided before anything is chosen.

    Attributes:
        task: Name of the student's task.
        images: Training images.
        student: Name of its network.
        teacher: `none`, `random`, or the name of the teacher's task.
        teacher_network: Name of the teacher's network; empty without a teacher.
        method: A method by name, such as `fitnet`; without a teacher a regulariser such as
            `TrailingEnergy(rank=0.25)`, or empty for the student alone.
        direction: Of the projection, with a teacher.
        variant: What is changed in the method, a name in `VARIANTS`; empty for the method as it is.
    """

    task: str
    images: int
    student: str
    teacher: str = "none"
    teacher_network: str = ""
    method: str = ""
    direction: Direction = "none"
    variant: str = ""

    def __post_init__(self) -> None:
        problem(self.task).network(self.student)
        variant(self.variant)
        if self.teacher == "none":
            if self.teacher_network or self.direction != "none" or self.variant:
                raise ConfigError(f"Without a teacher there is nothing to project: {self}.")
            if self.method in known():
                raise ConfigError(f"The method {self.method} needs a teacher: {self}.")
        else:
            method_named(self.method)
            self._taught_by.network(self.teacher_network)

    @property
    def _taught_by(self) -> Any:
        # A random network is one of the student's own task: what it was meant for has no meaning.
        return problem(self.task if self.teacher == "random" else self.teacher)

    @property
    def alone(self) -> bool:
        """Whether nothing but the task trains the student."""
        return not self.method

    @property
    def name(self) -> str:
        """In words."""
        if self.teacher == "none":
            return self.method or "alone"
        changed = f", {self.variant}" if self.variant else ""
        return f"{self.method} from {self.teacher}, {self.direction}{changed}"


@dataclass(frozen=True)
class Choice:
    """What validation chooses.

    Attributes:
        lr: Learning rate.
        weight_decay: Weight decay.
        weight: Factor of the method's own weight.
        tap: Which features.
        form: How they are compared, a name in `FORMS`.
    """

    lr: float = 1e-3
    weight_decay: float = 0.05
    weight: float = 1.0
    tap: Tap = "deep"
    form: str = "own"

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ConfigError(
                f"Features are not compared '{self.form}'. {did_you_mean(self.form, FORMS)}"
            )


Stage = Literal["teacher", "selection", "comparison"]


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        stage: What it is for; the test data are read in all but `selection`.
        arm: What is trained.
        choice: With what settings.
        seed: Of the data, the first weights, and a random teacher.
        budget: How long.
        teacher: The run that trained the teacher; None for a random one or none.
    """

    stage: Stage
    arm: Arm
    choice: Choice
    seed: int
    budget: Budget
    teacher: "Cell | None" = None

    def __post_init__(self) -> None:
        trained = self.arm.teacher not in ("none", "random")
        if trained != (self.teacher is not None):
            raise ConfigError(
                f"The arm {self.arm.name} of {self.arm.task} has a teacher that was trained "
                f"({trained}), and its run is {'missing' if trained else 'given'}."
            )

    @cached_property
    def key(self) -> str:
        """A hash of the settings: the same for the same run, whatever computes it, 16 digits.

        With what a method makes of them: its name stands for weights and parts, which may come to
        be others.
        """
        return key_of(self.settings(), self.links())

    @property
    def folder(self) -> str:
        """Of the run, in that of the benchmark."""
        return f"{RUNS}/{self.key}"

    def description(self) -> dict[str, Any]:
        """What it is in plain names, for the record."""
        teacher = None if self.teacher is None else self.teacher.key
        return {
            **asdict(self.arm),
            **asdict(self.choice),
            "name": self.arm.name,
            "stage": self.stage,
            "seed": self.seed,
            "steps": self.budget.steps,
            "pixels": self.budget.pixels,
            "teacher_run": teacher,
            "links": self.links(),
        }

    def links(self) -> list[dict[str, Any]]:
        """What is distilled or regularised, with all settings as plain values."""
        return _links(self.arm, self.choice)

    def settings(self) -> dict[str, Any]:
        """The settings of `anyteacher fit`; paths are within the folder of the benchmark."""
        arm, budget = self.arm, self.budget
        posed = problem(arm.task)
        every = max(1, budget.steps // budget.looks)
        return {
            "seed": self.seed,
            "task": dict(posed.task),
            "student": posed.build(arm.student),
            "data": posed.data(arm.images, self.seed, budget),
            "teacher": self._teacher(),
            "distillation": self._distillation(),
            "optimization": {
                "lr": self.choice.lr,
                "weight_decay": self.choice.weight_decay,
                **variant(arm.variant).optimization,
            },
            "checkpoint_every": every,
            "trainer": {
                "max_epochs": -1,
                "max_steps": budget.steps,
                # Looks are counted in steps: sizes of the training set have as many.
                "check_val_every_n_epoch": None,
                "val_check_interval": every,
                "num_sanity_val_steps": 0,
                "devices": 1,
                "log_every_n_steps": every,
            },
        }

    def _teacher(self) -> dict[str, Any] | None:
        arm = self.arm
        if arm.teacher == "none":
            return None
        build = arm._taught_by.build(arm.teacher_network)
        if self.teacher is None:
            random = {"build": build, "seed": self.seed}
            return {"class_path": "anyteacher.teachers.Random", "init_args": random}
        trained = {"model": build, "weights": f"{self.teacher.folder}/{STUDENT}"}
        return {"class_path": "anyteacher.teacher.Teacher", "init_args": trained}

    def _distillation(self) -> dict[str, Any]:
        found = _distillation(self.arm, self.choice)
        if self.arm.alone:
            return found
        return {**found, "observe_every": max(1, self.budget.steps // _LOOKS_AT_FEATURES)}


def key_of(settings: Mapping[str, Any], links: Sequence[Mapping[str, Any]]) -> str:
    """The key of a run by its settings and the links that they stand for."""
    decides = (settings, *links)
    text = "".join(json.dumps(p, sort_keys=True, separators=(",", ":")) for p in decides)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _distillation(arm: Arm, choice: Choice) -> dict[str, Any]:
    if arm.alone:
        return {"links": []}
    tap = problem(arm.task).network(arm.student).taps[choice.tap]
    if arm.teacher == "none":
        name, arguments = written_call(arm.method)
        loss = {"class_path": name, "init_args": arguments}
        return {"links": [{"student": tap, "loss": loss}], "weight": choice.weight}
    theirs = arm._taught_by.network(arm.teacher_network).taps[choice.tap]
    return {
        "links": [{"student": tap, "teacher": theirs}],
        "method": arm.method,
        "direction": arm.direction,
        **FORMS[choice.form],
        **variant(arm.variant).distillation,
        "weight": choice.weight,
    }


@cache
def _links(arm: Arm, choice: Choice) -> list[dict[str, Any]]:
    found = _distillation(arm, choice)
    for link in found["links"]:
        if "loss" in link:
            link["loss"] = made_of(regularizers, link["loss"])
    if "projector" in found:
        found["projector"] = made_of(projectors, found["projector"])
    found["links"] = [Link(**link) for link in found["links"]]
    return [link.described() for link in Distillation(**found).resolved()]
