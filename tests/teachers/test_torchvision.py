import re

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


# What torchvision builds in another way with pretrained weights, and how it is made small.
INSIDE = {
    "inception_v3": {},
    "googlenet": {},
    "deeplabv3_mobilenet_v3_large": {},
    "fasterrcnn_mobilenet_v3_large_320_fpn": {"min_size": 64},
    "densenet121": {},
}
# Their own file, where torchvision's differs from what the built model has.
OLD = {"densenet121": lambda key: re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key)}


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
@pytest.mark.parametrize("name", INSIDE)
def test_a_file_gives_what_the_same_weights_give_once_they_are_fetched(name, monkeypatch, tmp_path):
    models = torchvision.models
    more = {"aux_loss": True} if "deeplab" in name else {}
    backbone = {"weights_backbone": None} if more or "rcnn" in name else {}
    source = models.get_model(name, weights=None, **backbone, **more)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.mul_(0.9)
    rename = OLD.get(name, str)
    state = {
        rename(key): value
        for key, value in source.state_dict().items()
        if name not in OLD or not key.endswith("num_batches_tracked")
    }
    torch.save(state, tmp_path / "weights.pth")
    mine = Torchvision(name, weights=tmp_path / "weights.pth", settings=INSIDE[name])
    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", lambda *args, **given: dict(state))
    theirs = Torchvision(name, settings=INSIDE[name])
    assert mine.fingerprint() == theirs.fingerprint()
    assert mine.norm == theirs.norm
    images = torch.rand(2, 3, 96, 96)
    images[:, 1] *= 0.2
    torch.testing.assert_close(mine(images), theirs(images))
    inside = [getattr(teacher.model, "transform_input", None) for teacher in (mine, theirs)]
    assert inside == [True if name in ("inception_v3", "googlenet") else None] * 2


def test_a_file_of_other_classes_is_built_as_without_weights(tmp_path):
    settings = {"num_classes": 4}
    source = Torchvision("mnasnet0_5", weights="random", settings=settings)
    torch.save(source.model.state_dict(), tmp_path / "four.pth")
    mine = Torchvision("mnasnet0_5", weights=tmp_path / "four.pth", settings=settings)
    assert mine.fingerprint() == source.fingerprint()
    with pytest.raises(TeacherError, match=r"of another model than this MNASNet.*\(4,"):
        Torchvision("mnasnet0_5", weights=tmp_path / "four.pth")
    # And what was built inside is as it was.
    assert torch.nn.Module.load_state_dict.__module__ == "torch.nn.modules.module"
    assert "get_state_dict" not in vars(torchvision.models.MNASNet0_5_Weights)


def test_whether_an_inception_of_other_classes_normalises_by_itself_must_be_said(tmp_path):
    settings = {"num_classes": 4, "init_weights": False}
    source = torchvision.models.inception_v3(**settings)
    path = tmp_path / "four.pth"
    torch.save(source.state_dict(), path)
    with pytest.raises(TeacherError, match=r"State it: settings=\{'transform_input': True\}"):
        Torchvision("inception_v3", weights=path, settings=settings)
    given = {**settings, "transform_input": True}
    assert Torchvision("inception_v3", weights=path, settings=given).model.transform_input


def test_offline_nothing_is_fetched(monkeypatch, tmp_path):
    def fetch(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("torch.hub.urlopen", fetch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    message = r"FileNotFoundError: there is no '.*mnasnet0.5_top1_67.823-3ffadce67e.pth'.*path/to"
    with pytest.raises(TeacherError, match=message):
        Torchvision("mnasnet0_5")
    # What is there is taken.
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "mnasnet0.5_top1_67.823-3ffadce67e.pth").write_bytes(b"")
    fetched = Torchvision("mnasnet0_5", weights="random").model.state_dict()
    monkeypatch.setattr(
        torchvision.models.WeightsEnum, "get_state_dict", lambda *args, **given: fetched
    )
    assert Torchvision("mnasnet0_5").origin == "pretrained weights"


@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_random_weights_come_without_a_warning(name):
    assert Torchvision(name, weights="random").norm == IMAGENET


def test_another_size_than_the_model_takes_is_refused_with_the_setting():
    with pytest.raises(TeacherError, match=r"224 x 224 only, and size is \(128, 128\).*image_size"):
        Torchvision("vit_b_16", weights="random", size=(128, 128))


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
