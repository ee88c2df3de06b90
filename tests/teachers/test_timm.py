import pytest
import timm
import torch

from anyteacher.errors import TeacherError
from anyteacher.normalization import IMAGENET, ImageNorm
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
    own = Timm("vit_tiny_patch16_224", weights="random", settings=VIT, size=(32, 32))
    assert own.size == (32, 32)
    smaller = {**VIT, "img_size": (32, 48)}
    assert Timm("vit_tiny_patch16_224", weights="random", settings=smaller).size == (32, 48)


def test_a_wrong_name_gets_a_hint():
    with pytest.raises(TeacherError, match=r"timm has no model 'resnet81'. Did you mean resnet"):
        Timm("resnet81")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_giant_patch14_224", "No pretrained weights exist"),
        ("vit_tiny_patch16_224.no_such_tag", "no_such_tag"),
    ],
)
def test_names_without_weights(name, reason):
    with pytest.raises(
        TeacherError, match=rf"'{name}' could not be had .*{reason}.*weights=\"path"
    ):
        Timm(name, settings=VIT)
