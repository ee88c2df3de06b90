"""Students with and without each regulariser, over several seeds: `configs/*-teacher-free.yaml`.

    python -m benchmarks.teacher_free digits         # some minutes
    python -m benchmarks.teacher_free rooms          # half an hour

First the choices, on the validation data and with seeds from 100: for the student alone its
learning rate, one of four; for each regulariser its weight, one of four, at that learning rate.
Then the comparison, with seeds from 0: every student is a run of `anyteacher fit` in a folder of
its own, and is measured on the test data once. `anyteacher analyze` makes the page of the runs.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import torch

from anyteacher import cli
from anyteacher.experiment import CURVES, STUDENT
from anyteacher.logs import read_curves

CONFIGS = Path(__file__).parents[1] / "configs"
RATES = (0.001, 0.003, 0.01, 0.03)
WEIGHTS = (0.01, 0.1, 1.0, 10.0)
TUNING_SEEDS = 3
ARMS: dict[str, dict[str, object] | None] = {
    "alone": None,
    "trailing": {"class_path": "TrailingEnergy", "init_args": {"rank": 0.25}},
    "trailing-fraction": {
        "class_path": "TrailingEnergy",
        "init_args": {"rank": 0.25, "fraction": True},
    },
    "nuclear": {"class_path": "NuclearNorm"},
    "log-det": {"class_path": "LogDet"},
    "effective-rank": {"class_path": "EffectiveRank"},
}


def train(study: str, arm: str, *, rate: float, weight: float, seed: int, folder: Path) -> Path:
    """One run of `anyteacher fit`, with its place in the folder; a finished one is kept."""
    loss = ARMS[arm]
    run = folder / f"{arm}-lr{rate:g}-w{weight:g}-s{seed}"
    if (run / STUDENT).is_file():
        return run
    arguments = [
        "fit",
        f"--config={CONFIGS / f'{study}-teacher-free.yaml'}",
        f"--output={run}",
        f"--seed={seed}",
        f"--data.seed={seed}",
        f"--optimization.lr={rate}",
        f"--distillation.weight={weight}",
        "--trainer.enable_progress_bar=false",
        "--threads=1",
        "--resume",
    ]
    if loss is None:
        arguments.append("--distillation.links=[]")
    else:
        arguments.append(f"--distillation.links.loss={json.dumps(loss)}")
    _call(arguments)
    return run


def _call(arguments: Sequence[str]) -> None:
    if status := cli.main(list(arguments)):
        raise SystemExit(f"anyteacher {' '.join(arguments)} ended with status {status}")


def best(run: Path) -> float:
    """The best value of the deciding metric on the validation data; it chose the kept student."""
    values = read_curves(run / CURVES)
    (name,) = (name for name in values if name in ("val/top1", "val/map"))
    return max(value for _, value in values[name])


def choose(study: str, folder: Path) -> dict[str, tuple[float, float]]:
    """Learning rate and weight of each arm, by the mean over the tuning seeds."""
    seeds = range(100, 100 + TUNING_SEEDS)

    def mean(arm: str, rate: float, weight: float) -> float:
        runs = (
            train(study, arm, rate=rate, weight=weight, seed=seed, folder=folder / "tuning")
            for seed in seeds
        )
        return fmean(best(run) for run in runs)

    found = {rate: mean("alone", rate, 0.0) for rate in RATES}
    rate = max(found, key=found.__getitem__)
    print(f"{study}, alone: " + ", ".join(f"lr {r:g}: {v:.4f}" for r, v in found.items()))
    chosen = {"alone": (rate, 0.0)}
    for arm in list(ARMS)[1:]:
        values = {weight: mean(arm, rate, weight) for weight in WEIGHTS}
        chosen[arm] = rate, max(values, key=values.__getitem__)
        line = ", ".join(f"weight {w:g}: {v:.4f}" for w, v in values.items())
        print(f"{study}, {arm}: {line}", flush=True)
    return chosen


def compare(study: str, folder: Path, chosen: dict[str, tuple[float, float]], seeds: int) -> None:
    """Trains and tests every arm with every seed, and makes the page."""
    runs: list[Path] = []
    for arm, (rate, weight) in chosen.items():
        for seed in range(seeds):
            run = train(study, arm, rate=rate, weight=weight, seed=seed, folder=folder)
            if not (run / "test.json").is_file():
                _call(["test", str(run), "--trainer.enable_progress_bar=false"])
            runs.append(run)
    _call(["analyze", *map(str, runs), f"--output={folder / 'report.html'}"])


def main() -> None:
    """Tunes, compares, reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=("digits", "rooms"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("runs/teacher-free"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.output / arguments.study
    compare(arguments.study, folder, choose(arguments.study, folder), arguments.seeds)


if __name__ == "__main__":
    main()
