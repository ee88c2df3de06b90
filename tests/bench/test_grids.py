from dataclasses import replace
from itertools import product

import pytest
import torch

from anyteacher.bench.cell import Cell, Choice
from anyteacher.bench.claims import CLAIMS
from anyteacher.bench.grid import SELECTION_SEED, TEACHER_SEED
from anyteacher.bench.grids import (
    FULL,
    GPU,
    GPU_MOBILENET,
    GPU_VIT,
    GRIDS,
    MATRIX,
    QUICK,
    grid_named,
)
from anyteacher.bench.plan import Plan
from anyteacher.bench.problems import ROOMS, Budget
from anyteacher.bench.verdict import FEWEST_SEEDS
from anyteacher.errors import ConfigError
from anyteacher.instantiation import instantiate
from anyteacher.parsers import make_parser


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_can_be_planned(name):
    grid = grid_named(name)
    plan = Plan(grid, {})
    assert len({cell.key for cell in plan.ready()}) == len(plan.ready()) > 0
    assert all(seeds >= FEWEST_SEEDS for _, seeds in plan.arms.values())
    assert {arm.task for arm in plan.arms} == set(grid.tasks)
    # No scene that something is chosen by, or a teacher learns from, is compared on.
    compared = grid.compared_seeds(max(seeds for _, seeds in plan.arms.values()))
    chosen = range(SELECTION_SEED, SELECTION_SEED + grid.selection_seeds)
    assert len({*compared, *chosen, TEACHER_SEED}) == len(compared) + len(chosen) + 1


def test_the_full_grid_tries_every_claim_on_all_tasks_at_two_sizes():
    assert FULL.claims == CLAIMS
    assert set(FULL.tasks) == {*ROOMS, "digits"}
    assert set(FULL.teachers) == set(ROOMS)
    assert len(FULL.scales) == 2
    assert len(FULL.teacher_cells()) == 2 * len(ROOMS)
    largest = max(scale.images for scale in FULL.scales)
    assert FULL.teacher_images >= 8 * largest
    assert {0.1, 1.0, 10.0} <= set(FULL.weights)


def test_the_students_of_the_gpu_grids_are_of_three_kinds():
    students = {GRIDS[name].student for name in GRIDS if name.startswith("gpu")}
    assert students == {"resnet18", "mobilenet_v2", "vit_small"}


def test_the_quick_grid_tries_every_claim():
    tried = {claim.name.split()[0] for claim in CLAIMS if QUICK.comparisons(claim)}
    assert tried == {f"C{i}" for i in range(1, 7)}
    assert Plan(QUICK, {}).count < 500


def test_the_matrix_is_six_tasks_by_six_teachers_and_a_random_one():
    arms = Plan(MATRIX, {}).arms
    taught = {(arm.task, arm.teacher, arm.direction) for arm in arms if arm.teacher != "none"}
    teachers = (*ROOMS, "random")
    directions = ("inverted", "traditional")
    digits = set(product(["digits"], ["random"], directions))
    assert taught == set(product(ROOMS, teachers, directions)) | digits
    trained = Plan(MATRIX, {}).teachers
    assert set(trained) == set(product(ROOMS, ("large", "small")))
    assert set(trained) >= set(Plan(QUICK, {}).teachers)


def test_a_wrong_name():
    with pytest.raises(ConfigError, match=r"no grid 'quik'\. Did you mean quick"):
        grid_named("quik")


@pytest.mark.parametrize("grid", [GPU, GPU_MOBILENET, GPU_VIT], ids=lambda grid: grid.name)
@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_the_arms_of_the_gpu_grids_are_experiments(task, grid, monkeypatch, tmp_path):
    monkeypatch.setenv("ANYTEACHER_CACHE", str(tmp_path))
    scale = replace(grid.scales[0], budget=Budget(1, batch=2, pixels=224, val=1, test=1, looks=1))
    arm = replace(grid.arm(scale, task, "random", "inverted", "inverted"), images=2)
    settings = Cell("comparison", arm, Choice(), 0, scale.budget).settings()
    parser, _ = make_parser("fit", "")
    experiment, _ = instantiate(parser, parser.parse_object(settings))
    experiment.data.prepare_data()
    experiment.data.setup("fit")
    module = experiment.module()
    module.connect(experiment.data)
    batch = experiment.data.train.__getitems__([0, 1]).batch
    module.distiller.train()
    output = module.distiller(batch["image"])
    assert torch.isfinite(experiment.task.loss(output.prediction, batch) + output.total)
    module.distiller.release()
