"""What came of the demonstration's trainings."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from anyteacher.demo.plan import Arm, Study
from anyteacher.logs import Curve
from anyteacher.statistics import Paired, compare


@dataclass
class Run:
    """What came of one student.

    Attributes:
        metrics: On the test data.
        curve: The deciding metric on the validation data, by step.
        seconds: Time of training.
        predictions: For the first test images, in the task's units; may be empty.
    """

    metrics: dict[str, float]
    curve: Curve
    seconds: float
    predictions: Tensor


@dataclass
class Outcome:
    """A study with its runs by the name of their arm, in the order of the seeds.

    Attributes:
        study: What was run.
        runs: One a seed for each arm.
        images: The first test images (n, C, H, W) of the first seed; may be empty.
        targets: Their targets.
    """

    study: Study
    runs: dict[str, list[Run]]
    images: Tensor = field(default_factory=lambda: torch.empty(0))
    targets: Tensor = field(default_factory=lambda: torch.empty(0))

    def values(self, arm: Arm, metric: str) -> list[float]:
        """A test metric of an arm, one value a seed."""
        return [run.metrics[metric] for run in self.runs[arm.name]]

    def against_baseline(self) -> dict[str, Paired]:
        """Each other arm against the first, seed by seed, in the metric that decides."""
        study = self.study
        baseline = self.values(study.arms[0], study.metric)
        return {
            arm.name: compare(self.values(arm, study.metric), baseline, mode=study.mode)
            for arm in study.arms[1:]
        }

    def record(self) -> dict[str, Any]:
        """The results as plain data."""
        study = self.study
        return {
            "study": study.name,
            "metric": study.metric,
            "seeds": list(study.seeds),
            "steps": study.steps,
            "train_size": study.train_size,
            "arms": [
                {
                    "name": arm.name,
                    "teacher": arm.teacher,
                    "direction": arm.direction,
                    "weight": arm.weight,
                    "compare": arm.compare,
                    "runs": [
                        {"metrics": run.metrics, "curve": run.curve, "seconds": run.seconds}
                        for run in self.runs[arm.name]
                    ],
                }
                for arm in study.arms
            ],
        }
