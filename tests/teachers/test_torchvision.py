import pytest
import torch
import torchvision

from anyteacher.errors import TeacherError
from anyteacher.normalization import IMAGENET, ImageNorm
from anyteacher.survey import suggest, survey
from anyteacher.teachers import Torchvision


def test_it_brings_its_preprocessing():
    vit = Torchvision("vit_b_16", weights="random", settings={"image_size": 64, "num_classes": 7})
    assert vit.size == (64, 64)
    assert vit.norm == IMAGENET
    assert vit(torch.rand(1, 3, 32, 48)).shape == (1, 7)
    small = Torchvision("mnasnet0_5", weights="random")
    assert small.size is None
    assert small.trained_at == (224, 224)


def test_the_normalisation_is_that_of_the_weights(monkeypatch):
    class Stub(torch.nn.Module):
        pass

    monkeypatch.setattr(torchvision.models, "get_model", lambda *args, **given: Stub())
    assert Torchvision("efficientnet_v2_l", weights="random").norm == ImageNorm(
        (0.5,) * 3, (0.5,) * 3
    )
    assert Torchvision("fasterrcnn_resnet50_fpn", weights="random").norm == ImageNorm()


def test_random_weights_fetch_no_backbone(monkeypatch):
    def fetch(*args, **kwargs):
        raise AssertionError("weights were fetched")

    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", fetch)
    teacher = Torchvision("lraspp_mobilenet_v3_large", weights="random")
    assert teacher(torch.rand(1, 3, 32, 32))["out"].shape == (1, 21, 32, 32)


def test_a_wrong_name_gets_a_hint():
    with pytest.raises(TeacherError, match=r"torchvision has no model 'resnet81'. Did you mean"):
        Torchvision("resnet81")


TAPS = {
    "vit_b_16": (
        {"image_size": 64},
        [f"encoder.layers.encoder_layer_{i}" for i in (11, 7, 3)],
    ),
    "swin_t": ({}, ["features.7", "features.5", "features.3"]),
    "convnext_tiny": ({}, ["features.7", "features.5", "features.3"]),
}


@pytest.mark.parametrize("name", TAPS)
def test_its_taps_are_proposed(name):
    settings, taps = TAPS[name]
    teacher = Torchvision(name, weights="random", settings=settings)
    found = survey(teacher.model, teacher.prepare(torch.rand(1, 3, 64, 64)))
    stages = survey(torchvision.models.resnet18().eval(), torch.rand(1, 3, 64, 64))
    assert [theirs.path for _, theirs in suggest(stages, found)] == taps
