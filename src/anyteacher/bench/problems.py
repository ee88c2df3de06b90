"""The tasks of the benchmark, each with its data: six of the rooms, and the digits."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, Literal

from anyteacher import tasks
from anyteacher.bench.networks import Kind, Network, network
from anyteacher.data.digits import TRAIN_SIZE
from anyteacher.data.rooms import CLASSES, KINDS
from anyteacher.errors import ConfigError, did_you_mean
from anyteacher.tasks.base import Task

_LOG_OF_THREE_METRES = 1.0986


@dataclass(frozen=True)
class Budget:
    """How long and on what a run trains; the same for all that are compared.

    Attributes:
        steps: Training steps.
        batch: Images a batch.
        pixels: Height and width of the rooms' pictures; digits have their own.
        val: Validation scenes of the rooms.
        test: Test scenes of the rooms.
        looks: Validations, evenly spread, one of which chooses the weights.
    """

    steps: int
    batch: int = 16
    pixels: int = 32
    val: int = 128
    test: int = 512
    looks: int = 10

    def __post_init__(self) -> None:
        if self.steps < 1 or self.looks < 1 or self.steps % self.looks:
            raise ConfigError(
                f"{self.steps} steps cannot hold {self.looks} evenly spread validations, the last "
                "behind the last step. Give a multiple."
            )


@dataclass(frozen=True)
class Problem:
    """A task as the settings of a run name it.

    Attributes:
        task: Class and arguments of the task.
        outputs: Channels of its output.
        kind: Which networks it has.
        target: The rooms' target; empty for the digits.
        bias: What an untrained head should give.
    """

    task: Mapping[str, Any]
    outputs: int
    kind: Kind
    target: str
    bias: float = 0.0

    @property
    def monitor(self) -> str:
        """The metric that decides."""
        return self._made.monitor

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether a smaller or a larger value of it is better."""
        return self._made.mode

    @cached_property
    def _made(self) -> Task:
        made: Task = made_of(tasks, self.task)
        return made

    def network(self, name: str) -> Network:
        """The network of a name, for this kind of output."""
        return network(self.kind, name)

    def build(self, name: str) -> dict[str, Any]:
        """The settings that build the network of a name for this task."""
        return self.network(name).config(self.outputs, 3 if self.target else 1, self.bias)

    def data(self, images: int, seed: int, budget: Budget) -> dict[str, Any]:
        """The settings of the data: so many training images, drawn by the seed.

        Raises:
            ConfigError: when there are not so many.
        """
        shared = {"train_size": images, "batch_size": budget.batch, "seed": seed}
        if self.target:
            own = {
                "val_size": budget.val,
                "test_size": budget.test,
                "size": [budget.pixels, budget.pixels],
                "targets": [self.target],
            }
            return {"class_path": "RoomsData", "init_args": {**shared, **own}}
        if images > TRAIN_SIZE:
            raise ConfigError(f"There are {TRAIN_SIZE} digits to train on, not {images}.")
        return {"class_path": "DigitsData", "init_args": shared}


def made_of(package: ModuleType, config: Mapping[str, Any]) -> Any:
    """The object that settings name by its class in a package, with its arguments."""
    return getattr(package, config["class_path"])(**config.get("init_args", {}))


def _task(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": name, "init_args": arguments} if arguments else {"class_path": name}


PROBLEMS: dict[str, Problem] = {
    "segmentation": Problem(
        _task("Segmentation", classes=len(CLASSES)), len(CLASSES), "dense", "segmentation"
    ),
    "depth": Problem(_task("Depth"), 1, "dense", "depth", bias=_LOG_OF_THREE_METRES),
    "normals": Problem(_task("Normals"), 3, "dense", "normals"),
    "edges": Problem(_task("Edges"), 1, "dense", "edges"),
    "relighting": Problem(_task("Translation", target="relit"), 3, "dense", "relit"),
    "classification": Problem(
        _task("MultiLabel", classes=len(KINDS)), len(KINDS), "global", "presence"
    ),
    "digits": Problem(_task("Classification", classes=10), 10, "digits", ""),
}
"""By name; all but the digits are of the rooms."""

ROOMS: tuple[str, ...] = tuple(name for name, problem in PROBLEMS.items() if problem.target)
"""The names of those whose images are rooms, so that each can teach each other."""


def problem(name: str) -> Problem:
    """A task of the benchmark by name.

    Raises:
        ConfigError: when there is none of this name.
    """
    if name not in PROBLEMS:
        raise ConfigError(f"The benchmark has no task '{name}'. {did_you_mean(name, PROBLEMS)}")
    return PROBLEMS[name]
