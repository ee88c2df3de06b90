"""Finished runs for all tests of findings, trained once, and made-up ones."""

from pathlib import Path

import pytest
import torch
from fits import ALONE, TRAIL, fit

from anyteacher.analysis import Analysis, Directions, Measured
from anyteacher.findings.run import Finding, Run


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Runs by name: two seeds taught by a random teacher, regularised without one, and alone."""
    folder = tmp_path_factory.mktemp("findings") / "runs"
    made = {}
    for seed in (0, 1):
        for name, flags in (("taught", []), ("trail", TRAIL), ("alone", ALONE)):
            named = f"{name}-{seed}"
            made[named] = fit(folder / named, f"--seed={seed}", *flags)
    return made


@pytest.fixture
def finding():
    """Made-up findings; what is not given is the same in all."""

    def make(
        name="runs/a-0",
        *,
        seed=0,
        settings=None,
        curves=None,
        tested=None,
        monitor="top1",
        mode="max",
        linked=True,
        analysis=None,
    ) -> Finding:
        config = {
            "seed": seed,
            "threads": 0,
            "task": {"class_path": "Classification"},
            "teacher": None,
            "data": {"class_path": "DigitsData", "init_args": {"seed": 0, "batch_size": 4}},
            "distillation": {"links": [], "weight": 1.0},
            **(settings or {}),
        }
        run = Run(Path(name), config, curves or {}, tested)
        return Finding(run, monitor, mode, linked, analysis)

    return make


@pytest.fixture
def measured():
    """Made-up measurements of one link."""

    def make(name="a<-b", **changes) -> Measured:
        values = {
            "name": name,
            "student_tap": "a",
            "direction": "inverted",
            "projector": "Linear",
            "regularizer": "",
            "weight": 1.0,
            "rows": 64,
            "student": torch.tensor([4.0, 2.0, 1.0]).double(),
            "teacher": torch.tensor([5.0, 3.0, 1.0, 1.0]).double(),
            "projected": torch.tensor([2.0, 1.0, 0.5]).double(),
            "cka": 0.25,
            "directions": Directions(
                torch.tensor([0.5, 0.3, 0.1, 0.1]).double(),
                torch.tensor([0.75, 0.0, 0.25, 0.0]).double(),
                torch.tensor([1.0, 0.0, 1.0, 0.25]).double(),
            ),
            "pictures": {side: torch.randn(4, 3, 4, 4) for side in ("teacher", "student")},
        }
        return Measured(**{**values, **changes})

    return make


@pytest.fixture
def analysis(measured):
    """A made-up analysis of given links, or of one."""

    def make(*links) -> Analysis:
        links = links or (measured(),)
        students = [m.student_tap for m in links]
        values = torch.full((len(links), 2), 0.5).double()
        return Analysis(64, list(links), (students, ["b", "c"], values), torch.rand(4, 1, 8, 8))

    return make
