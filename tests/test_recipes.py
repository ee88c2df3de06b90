"""The recipes for data sets on disk: two steps of each on small files of its format."""

import json
from pathlib import Path

import layouts
import pytest
import torch
import yaml

from anyteacher import cli, teachers
from anyteacher.data.augmentation import fixed_view
from anyteacher.experiment import CONFIG, CURVES
from anyteacher.logs import read_curves
from anyteacher.teachers import Timm

FOLDER = Path(__file__).parents[1] / "configs"
TWINS = ("inverted", "alone", "traditional", "random")

# What writes a small data set, and what of a recipe is made small, to need no network and no time.
NO_DOWNLOAD = ["--student.encoder_weights=null"]
CONVOLUTION = {
    "class_path": "torch.nn.Conv2d",
    "init_args": {"in_channels": 3, "out_channels": 8, "kernel_size": 3},
}
LOOKS = {"class_path": "Random", "init_args": {"build": CONVOLUTION}}
MEASURED_BY = f"--task.features={json.dumps({'model': LOOKS, 'layer': ''})}"
RECIPES = {
    "nyuv2": (layouts.nyu_folders, NO_DOWNLOAD),
    "cityscapes": (layouts.cityscapes, NO_DOWNLOAD),
    "ade20k": (layouts.ade20k, NO_DOWNLOAD),
    "coco-stuff": (layouts.coco_stuff, NO_DOWNLOAD),
    "imagenet": (
        layouts.imagenet,
        ["--data.classes=3", "--task.classes=3", "--student.num_classes=3"],
    ),
    "facades": (layouts.aligned, ["--student.width=8"]),
    "horse2zebra": (layouts.unpaired, ["--student.width=8", MEASURED_BY]),
}
SMALL = [
    "--data.size=[64,64]",
    "--data.batch_size=2",
    "--data.num_workers=0",
    "--trainer.max_epochs=2",
    "--trainer.limit_train_batches=1",
    "--trainer.limit_val_batches=1",
    "--trainer.num_sanity_val_steps=0",
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.log_every_n_steps=1",
    "--trainer.precision=32-true",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
]
TEACHERS = {
    "resnet50": {"name": "resnet18"},
    "convnext_tiny": {"name": "convnext_atto", "settings": {"depths": [1, 1, 1, 1]}},
    "vit_small_patch14_dinov2": {
        "name": "vit_small_patch14_dinov2",
        "settings": {"img_size": 56, "embed_dim": 24, "num_heads": 2},
    },
}

# Without training the blocks of these teachers add nothing to their input, unless this is set.
STARTED = {
    "convnext_tiny": {"ls_init_value": 1.0},
    "vit_small_patch14_dinov2": {"init_values": 1.0},
}


def read(name, twin):
    return yaml.safe_load((FOLDER / f"{name}-{twin}.yaml").read_text())


def run(name, twin, folder, *more, weights="random"):
    """Fits a recipe, or a twin of it; gives the folder of the run."""
    write, small = RECIPES[name]
    paths = [FOLDER / f"{name}-inverted.yaml"]
    if twin != "inverted":
        paths.append(FOLDER / f"{name}-{twin}.yaml")
    given = [*SMALL, *small, *more]
    if "teacher" not in read(name, twin) or read(name, twin)["teacher"]:
        of = read(name, "inverted")["teacher"]
        small = {**TEACHERS[of["init_args"]["name"]], "weights": str(weights)}
        teacher = {"class_path": of["class_path"], "init_args": small}
        given.append(f"--teacher={json.dumps(teacher)}")
    status = cli.main(
        [
            "fit",
            *(f"--config={path}" for path in paths),
            *given,
            f"--data.root={write(folder / 'data')}",
            f"--output={folder / 'run'}",
        ]
    )
    assert status == 0
    return folder / "run"


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_two_steps_on_files_of_its_format(name, twin, tmp_path):
    folder = run(name, twin, tmp_path)
    kept, curves = yaml.safe_load((folder / CONFIG).read_text()), read_curves(folder / CURVES)
    tap = read(name, "inverted")["distillation"]["links"][0]["student"]
    links = [key for key in curves if key.startswith(f"train/{tap}")]
    assert len(curves["train/total"]) == 2
    assert len(links) == (twin != "alone")
    assert (kept["teacher"] is None) == (twin == "alone")
    wanted = "traditional" if twin == "traditional" else "inverted"
    assert kept["distillation"]["direction"] == wanted
    assert (folder / "student.safetensors").is_file()


@pytest.mark.parametrize("name", ["nyuv2", "imagenet", "facades"])
def test_the_teacher_of_a_recipe_takes_its_weights_from_a_file(name, tmp_path, capsys):
    """As its authors give them out: of the size of images that it was trained at."""
    of = read(name, "inverted")["teacher"]
    small = TEACHERS[of["init_args"]["name"]]
    settings = {k: v for k, v in small.get("settings", {}).items() if k != "img_size"}
    kind = getattr(teachers, of["class_path"].rpartition(".")[2])
    made = kind(small["name"], weights="random", settings=settings)
    torch.save(made.model.state_dict(), tmp_path / "weights.pth")
    run(name, "inverted", tmp_path, weights=tmp_path / "weights.pth")
    assert f"with the weights of {tmp_path}/weights.pth; images" in capsys.readouterr().out


def test_imagenet_without_a_teacher_makes_two_steps(tmp_path):
    folder = run(
        "imagenet", "teacher-free", tmp_path, "--data.size=[224,224]", "--data.batch_size=3"
    )
    curves = read_curves(folder / CURVES)
    assert [len(v) for k, v in curves.items() if k.startswith("train/layer4")] == [2]
    assert yaml.safe_load((folder / CONFIG).read_text())["teacher"] is None


@pytest.mark.parametrize("name", RECIPES)
def test_a_twin_changes_what_it_says_and_no_more(name):
    teacher = read(name, "inverted")["teacher"]
    given = {**teacher["init_args"], "weights": "random"}
    if started := STARTED.get(given["name"]):
        given["settings"] = {**given.get("settings", {}), **started}
    assert {twin: read(name, twin) for twin in TWINS[1:]} == {
        "alone": {"teacher": None, "distillation": {"links": []}},
        "traditional": {"distillation": {"direction": "traditional"}},
        "random": {"teacher": {**teacher, "init_args": given}},
    }


@pytest.mark.parametrize("name", ["nyuv2", "imagenet"])
def test_the_blocks_of_an_untrained_teacher_do_something(name):
    given = read(name, "random")["teacher"]["init_args"]
    model = Timm(**given).model
    block = model.blocks[-1] if hasattr(model, "blocks") else model.stages[-1].blocks[-1]
    shares = []
    block.register_forward_hook(
        lambda module, args, out: shares.append((out - args[0]).std() / args[0].std())
    )
    with torch.no_grad():
        model(torch.randn(1, 3, 224, 224))
    assert shares[0] > 0.1


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_what_it_costs_and_is_compared_with(name):
    text = (FOLDER / f"{name}-inverted.yaml").read_text()
    assert "# Cost on one GPU: about " in text
    assert "Not measured: " in text
    assert "arXiv 2403.14494" in text


@pytest.mark.parametrize(
    ("name", "picture"),
    {
        "ade20k": (512, 683),
        "coco-stuff": (640, 480),
        "cityscapes": (1024, 2048),
        "nyuv2": (480, 640),
    }.items(),
)
def test_all_pixels_of_a_picture_are_measured(name, picture):
    given = read(name, "inverted")["data"]["init_args"]
    view = fixed_view(picture, tuple(given["size"]), given.get("fit", "crop"))
    assert view.part == (0, 0, *picture)
