import pytest
import timm
import torch

import anyteacher as at
from anyteacher.errors import TeacherError
from anyteacher.layout import detect
from anyteacher.normalization import IMAGENET, ImageNorm
from anyteacher.survey import suggest, survey
from anyteacher.teachers import Timm

VIT = {"depth": 1, "embed_dim": 12, "num_heads": 2}


def test_it_brings_its_preprocessing():
    vit = Timm("vit_tiny_patch16_224", weights="random", settings=VIT)
    config = timm.data.resolve_model_data_config(vit.model)
    assert (
        vit.norm
        == ImageNorm(tuple(config["mean"]), tuple(config["std"]))
        == ImageNorm((0.5,) * 3, (0.5,) * 3)
    )
    assert vit.size == vit.trained_at == (224, 224)  # a plain transformer takes one size only
    assert vit(torch.rand(1, 3, 32, 48)).shape == (1, 1000)
    resnet = Timm("resnet10t", weights="random")
    assert resnet.size is None
    assert resnet.trained_at == (176, 176)
    assert resnet.norm == IMAGENET


def test_the_size_follows_the_settings():
    free = {**VIT, "dynamic_img_size": True}
    assert Timm("vit_tiny_patch16_224", weights="random", settings=free).size is None
    own = Timm("vit_tiny_patch16_224", weights="random", settings=free, size=(32, 32))
    assert own.size == (32, 32)
    assert own(torch.rand(1, 3, 48, 48)).shape == (1, 1000)
    smaller = {**VIT, "img_size": (32, 48)}
    assert Timm("vit_tiny_patch16_224", weights="random", settings=smaller).size == (32, 48)


def test_another_size_than_the_model_takes_is_refused_with_the_setting():
    with pytest.raises(TeacherError, match=r"224 x 224 only, and size is \(32, 32\).*img_size"):
        Timm("vit_tiny_patch16_224", weights="random", settings=VIT, size=(32, 32))
    same = Timm("vit_tiny_patch16_224", weights="random", settings=VIT, size=(224, 224))
    assert same.size == (224, 224)


def test_weights_from_a_file_are_those_that_timm_would_have_made_of_them(tmp_path):
    """DINOv2 at another size than its own: timm resamples the position embeddings."""
    name, path = "vit_small_patch14_dinov2", tmp_path / "weights.pt"
    state = timm.create_model(name, **VIT).state_dict()
    torch.save({"model": {f"module.{key}": value for key, value in state.items()}}, path)
    teacher = Timm(name, weights=path, settings={**VIT, "img_size": (56, 84)})
    overlay = {"state_dict": state}
    theirs = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay=overlay, img_size=(56, 84), **VIT
    )
    assert teacher.model.pos_embed.shape == (1, 25, 12)
    assert teacher.fingerprint() == at.Teacher(theirs).fingerprint()
    assert teacher.calibrated
    assert "state_dict" not in teacher.model.pretrained_cfg


def test_a_file_of_another_model_is_refused_and_no_class_is_dropped(tmp_path):
    torch.save(timm.create_model("resnet10t", num_classes=3).state_dict(), tmp_path / "three.pt")
    with pytest.raises(TeacherError, match=r"of another model .*fc.weight \(3, 512\) for \(1000"):
        Timm("resnet10t", weights=tmp_path / "three.pt")
    three = Timm("resnet10t", weights=tmp_path / "three.pt", settings={"num_classes": 3})
    assert three.model.fc.out_features == 3


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("resnet10t", {"num_classes": 0}),
        ("convnext_atto", {"num_classes": 0}),
        ("vit_tiny_patch16_224", {**VIT, "num_classes": 0, "img_size": 32}),
        ("resnet10t", {"features_only": True}),
        ("resnet10t", {"features_only": True, "out_indices": (1, 2)}),
        ("convnext_atto", {"features_only": True}),
        ("efficientnet_lite0", {"features_only": True, "out_indices": (1, 3)}),
        ("vit_tiny_patch16_224", {**VIT, "features_only": True, "img_size": 32}),
    ],
)
def test_a_model_without_its_head_takes_the_file_of_the_whole(tmp_path, name, settings):
    path, body = tmp_path / "weights.pt", VIT if "vit" in name else {}
    if "vit" in name and "features_only" in settings:
        settings = {**settings, "out_indices": (0,)}
    state = timm.create_model(name, **body).state_dict()
    torch.save({"model": {f"module.{key}": value for key, value in state.items()}}, path)
    teacher = Timm(name, weights=path, settings=settings)
    theirs = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay={"state_dict": state}, **settings
    )
    assert teacher.fingerprint() == at.Teacher(theirs).fingerprint()
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "other.pt")
    with pytest.raises(TeacherError, match="of another model than this"):
        Timm(name, weights=tmp_path / "other.pt", settings=settings)


def test_a_tag_without_weights_is_a_name_for_random_ones():
    name = "vit_small_patch16_36x1_224.untrained"
    assert name not in timm.list_pretrained()
    assert Timm(name, weights="random", settings=VIT).size == (224, 224)


def test_a_wrong_name_gets_a_hint():
    with pytest.raises(TeacherError, match=r"timm has no model 'resnet81'. Did you mean resnet"):
        Timm("resnet81")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "vit_giant_patch14_224",
            r"cannot be made with pretrained .*No pretrained weights exist.*weights=\"path",
        ),
        (
            "vit_tiny_patch16_224.augrge_in21k",
            r"no weights 'augrge_in21k' of 'vit_tiny_patch16_224'. Did you .*augreg_in21k",
        ),
    ],
)
def test_names_without_weights(name, reason):
    with pytest.raises(TeacherError, match=reason):
        Timm(name, settings=VIT)
    if "augrge" in name:
        with pytest.raises(TeacherError, match=reason):
            Timm(name, settings=VIT, weights="random")


BLOCKS = {"img_size": (56, 84), "depth": 3, "embed_dim": 12, "num_heads": 2}
SWIN = {"img_size": (64, 96), "window_size": 2, "embed_dim": 8, "num_heads": (1, 2, 2, 4)}
TAPS = {
    "resnet10t": ({}, ["layer4", "layer3", "layer2"], "map", 0),
    "convnext_atto": ({}, ["stages.3", "stages.2", "stages.1"], "map", 0),
    "swin_tiny_patch4_window7_224": (
        SWIN,
        ["layers.3", "layers.2", "layers.1"],
        "channels_last",
        0,
    ),
    "vit_small_patch14_reg4_dinov2": (BLOCKS, ["blocks.2", "blocks.1", "blocks.0"], "tokens", 5),
}


@pytest.mark.parametrize("name", TAPS)
def test_its_taps_are_proposed_and_a_student_learns_from_them(name):
    settings, taps, kind, prefix = TAPS[name]
    teacher = Timm(name, weights="random", settings=settings)
    images = torch.rand(2, 3, *settings.get("img_size", (64, 96)))
    if not teacher.calibrated:
        teacher.calibrate([images])
    found = survey(teacher.model, teacher.prepare(images))
    stages = survey(timm.create_model("resnet10t").eval(), torch.rand(2, 3, 64, 96))
    assert [theirs.path for _, theirs in suggest(stages, found)] == taps
    deepest = next(candidate for candidate in found if candidate.path == taps[0])
    assert deepest.kind == kind
    assert detect((2, *deepest.shape), tuple(images.shape[2:])).prefix == prefix
    student = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3, 16))
    distiller = at.Distiller(student, teacher, [at.Link("0", taps[0])], example=images, seed=0)
    distiller(images).total.backward()
    assert student[0].weight.grad.abs().sum() > 0


def test_a_local_folder(tmp_path):
    source = timm.create_model("resnet10t", num_classes=3)
    timm.models.save_for_hf(source, tmp_path)
    teacher = Timm(f"local-dir:{tmp_path}")
    assert teacher.fingerprint() == at.Teacher(source).fingerprint()
    assert Timm(f"local-dir:{tmp_path}", weights="random").norm == IMAGENET
