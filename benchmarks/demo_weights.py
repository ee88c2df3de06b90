"""The search for the demonstration's weights: on validation data, the same choices for every arm.

    python benchmarks/demo_weights.py --study digits --seeds 10
    python benchmarks/demo_weights.py --study depth --seeds 3

The seeds start at 100; the demonstration's own start at 0. The test data are not looked at.
"""

import argparse
import itertools
from dataclasses import replace
from statistics import fmean, stdev

import torch

from anyteacher.demo.plan import DEPTH, DIGITS, Arm, Study
from anyteacher.demo.run import run_one
from anyteacher.report import Table, print_table

# Half decades, wide enough that the best of each arm lies inside.
WEIGHTS = {"depth": (0.1, 0.3, 1.0, 3.0), "digits": (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)}


def choices(study: Study) -> list[Arm]:
    """The baseline, and every taught arm with every weight and form of comparison."""
    taught = [arm for arm in study.arms if arm.teacher != "none"]
    forms = ("positions", "pooled") if study.name == "depth" else ("pooled",)
    grid = itertools.product(taught, forms, WEIGHTS[study.name])
    return [
        study.arms[0],
        *(
            replace(arm, name=f"{arm.name}, {form}, {weight:g}", weight=weight, compare=form)
            for arm, form, weight in grid
        ),
    ]


def best(study: Study, arm: Arm, seed: int) -> float:
    """The best value on the validation data during one training."""
    values = [value for _, value in run_one(study, arm, seed).curve]
    return min(values) if study.mode == "min" else max(values)


def main() -> None:
    """Runs the grid and prints it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", choices=("depth", "digits"), required=True)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    full = DEPTH if arguments.study == "depth" else DIGITS
    study = replace(full, test_size=min(full.test_size, 4))
    seeds = range(100, 100 + arguments.seeds)
    rows, baseline = [], []
    for arm in choices(study):
        values = [best(study, arm, seed) for seed in seeds]
        baseline = baseline or values
        difference = [ours - theirs for ours, theirs in zip(values, baseline, strict=True)]
        error = stdev(difference) / len(difference) ** 0.5
        rows.append((arm.name, fmean(values), fmean(difference), error))
        print(*rows[-1], flush=True)
    columns = ("arm, form, weight", study.metric, "difference", "standard error")
    print_table(Table(columns, rows, f"{study.name}: validation, {len(seeds)} seeds", decimals=4))


if __name__ == "__main__":
    main()
