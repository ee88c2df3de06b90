"""Every configuration that is shipped makes a step, on as little data as there can be."""

import json
from pathlib import Path

import layouts
import pytest
import yaml

from anyteacher import cli
from anyteacher.experiment import CONFIG, CURVES
from anyteacher.logs import read_curves

FOLDER = Path(__file__).parents[1] / "configs"

# Recipes for data sets on disk, and what writes a small one.
RECIPES = {"facades": layouts.aligned, "horse2zebra": layouts.unpaired}
TWINS = ("inverted", "alone", "traditional", "random")

CONFIGS = sorted(
    path
    for path in FOLDER.rglob("*.yaml")
    if path.stem not in {f"{name}-{twin}" for name in RECIPES for twin in TWINS}
)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_trains(path, tmp_path, monkeypatch):
    monkeypatch.setenv("ANYTEACHER_CACHE", str(tmp_path / "cache"))
    settings = yaml.safe_load(path.read_text())["data"].get("init_args", {})
    sizes = {name: 16 for name in ("train_size", "val_size", "test_size") if name in settings}
    status = cli.main(
        [
            "fit",
            f"--config={path}",
            f"--output={tmp_path / 'run'}",
            "--trainer.fast_dev_run=2",
            "--trainer.enable_progress_bar=false",
            "--data.batch_size=8",
            *(f"--data.{name}={size}" for name, size in sizes.items()),
        ]
    )
    assert status == 0


# What is of another size or has other weights than the recipe says, to need no network and no time.
SMALL = ["--student.width=8", "--data.size=[64,64]", "--data.batch_size=1", "--data.num_workers=0"]
TEACHER = (
    '--teacher={"class_path": "Torchvision", '
    '"init_args": {"name": "resnet18", "weights": "random"}}'
)
CONVOLUTION = {
    "class_path": "torch.nn.Conv2d",
    "init_args": {"in_channels": 3, "out_channels": 8, "kernel_size": 3},
}
LOOKS = {"class_path": "Random", "init_args": {"build": CONVOLUTION}}
MEASURED_BY = f"--task.features={json.dumps({'model': LOOKS, 'layer': ''})}"


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_two_steps_on_files_of_its_format(name, twin, tmp_path):
    paths = [FOLDER / f"{name}-inverted.yaml"]
    if twin != "inverted":
        paths.append(FOLDER / f"{name}-{twin}.yaml")
    given = [*SMALL]
    if twin != "alone":
        given.append(TEACHER)
    if "CycleGAN" in paths[0].read_text():
        given.append(MEASURED_BY)
    run = tmp_path / "run"
    status = cli.main(
        [
            "fit",
            *(f"--config={path}" for path in paths),
            *given,
            f"--data.root={RECIPES[name](tmp_path / 'data')}",
            f"--output={run}",
            "--trainer.max_epochs=1",
            "--trainer.limit_train_batches=2",
            "--trainer.check_val_every_n_epoch=1",
            "--trainer.log_every_n_steps=1",
            "--trainer.accelerator=cpu",
            "--trainer.enable_progress_bar=false",
        ]
    )
    assert status == 0
    kept, curves = yaml.safe_load((run / CONFIG).read_text()), read_curves(run / CURVES)
    links = [key for key in curves if key.startswith("train/encoder.3")]
    assert len(curves["train/total"]) == 2
    assert len(links) == (twin != "alone")
    assert (kept["teacher"] is None) == (twin == "alone")
    wanted = "traditional" if twin == "traditional" else "inverted"
    assert kept["distillation"]["direction"] == wanted


@pytest.mark.parametrize("name", RECIPES)
def test_a_twin_changes_what_it_says_and_no_more(name):
    recipe = yaml.safe_load((FOLDER / f"{name}-inverted.yaml").read_text())
    twins = {t: yaml.safe_load((FOLDER / f"{name}-{t}.yaml").read_text()) for t in TWINS[1:]}
    teacher = recipe["teacher"]
    assert twins == {
        "alone": {"teacher": None, "distillation": {"links": []}},
        "traditional": {"distillation": {"direction": "traditional"}},
        "random": {
            "teacher": {**teacher, "init_args": {**teacher["init_args"], "weights": "random"}}
        },
    }
