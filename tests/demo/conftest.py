from collections.abc import Callable

import pytest
import torch

from anyteacher.demo.outcome import Outcome, Run
from anyteacher.demo.plan import Study


@pytest.fixture(scope="session")
def made_up() -> Callable[..., Outcome]:
    """Outcomes of a study with given test results, by arm and in the order of the seeds."""

    def make(study: Study, results: dict[str, list[float]], scenes: int = 4) -> Outcome:
        assert list(results) == [arm.name for arm in study.arms]
        generator = torch.Generator().manual_seed(3)
        pictured = scenes if study.name == "depth" else 0

        def noise(channels: int) -> torch.Tensor:
            return torch.rand(pictured, channels, 64, 64, generator=generator)

        runs = {
            name: [
                Run(
                    {study.metric: value, "other": 7.0},
                    [(step, value + 1 / (step + 2)) for step in range(0, study.steps, 2)],
                    10.0 + place,
                    noise(1) + 1,
                )
                for place, value in enumerate(values)
            ]
            for name, values in results.items()
        }
        return Outcome(study, runs, noise(3), noise(1) + 1)

    return make
