"""What the demonstration runs: two studies, each of students that differ in one thing."""

from dataclasses import dataclass, replace
from typing import Literal

from anyteacher.layout import Compare
from anyteacher.losses import Direction


@dataclass(frozen=True)
class Arm:
    """One way to train the student of a study.

    Attributes:
        name: In tables and charts.
        teacher: Trained for segmentation, never trained, or none at all.
        direction: Of the projection.
        weight: Of the link.
        compare: What of the features is compared.
    """

    name: str
    teacher: Literal["none", "segmentation", "random"] = "none"
    direction: Direction = "inverted"
    weight: float = 1.0
    compare: Compare = "positions"


@dataclass(frozen=True)
class Study:
    """Students that differ in their arm alone, over the same seeds.

    Attributes:
        name: `depth` or `digits`.
        arms: The ways to train; the first is the baseline.
        seeds: Each decides the data, the first weights, the projector and the random teacher.
        steps: Training steps of every student.
        train_size: Training images.
        val_size: Validation images, where they are generated.
        test_size: Test images, where they are generated.
    """

    name: Literal["depth", "digits"]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    steps: int
    train_size: int
    val_size: int = 0
    test_size: int = 0

    @property
    def metric(self) -> str:
        """The metric that decides, as the task names it."""
        return "abs_rel" if self.name == "depth" else "top1"

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether a smaller or a larger value of it is better."""
        return "min" if self.name == "depth" else "max"


# What is compared, and how strongly, is for each arm the best of one grid on validation data, with
# other seeds: `python benchmarks/demo_weights.py`.
DEPTH = Study(
    "depth",
    (
        Arm("alone"),
        Arm("traditional", "segmentation", "traditional", 1.0),
        Arm("inverted", "segmentation", "inverted", 0.3, "pooled"),
        Arm("inverted, random", "random", "inverted", 1.0),
    ),
    seeds=(0, 1, 2),
    steps=240,
    train_size=128,
    val_size=64,
    test_size=256,
)
DIGITS = Study(
    "digits",
    (
        Arm("alone"),
        Arm("traditional, random", "random", "traditional", 0.3, "pooled"),
        Arm("inverted, random", "random", "inverted", 10.0, "pooled"),
    ),
    seeds=tuple(range(20)),
    steps=300,
    train_size=50,
)


def quick(study: Study) -> Study:
    """The same study far too short to say anything: to see that everything runs."""
    return replace(
        study,
        seeds=study.seeds[:2],
        steps=8,
        train_size=min(study.train_size, 64),
        val_size=min(study.val_size, 16),
        test_size=min(study.test_size, 16),
    )
