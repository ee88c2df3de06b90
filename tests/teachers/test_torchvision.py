import pytest
import torch

from anyteacher.errors import TeacherError
from anyteacher.normalization import IMAGENET, ImageNorm
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

    import torchvision

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
