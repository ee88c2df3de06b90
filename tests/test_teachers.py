import os
import subprocess
import sys
import urllib.error

import pytest
import timm
import torch
import torchvision
import transformers
from torch import nn

from anyteacher.errors import MissingExtraError, TeacherError
from anyteacher.normalization import IMAGENET, ImageNorm
from anyteacher.teachers import Random, Timm, Torchvision, Transformers

VIT = {"depth": 1, "embed_dim": 12, "num_heads": 2}


def small_config(**settings):
    return transformers.ViTConfig(
        hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, **settings
    )


def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


NAMED = {
    "random": lambda seed: Random(build, seed=seed),
    "timm": lambda seed: Timm("resnet10t", weights="random", seed=seed),
    "torchvision": lambda seed: Torchvision("mnasnet0_5", weights="random", seed=seed),
    "transformers": lambda seed: Transformers(
        "any", weights="random", seed=seed, config=small_config()
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_random_weights_follow_the_seed_and_leave_the_random_state_alone(name):
    state = torch.get_rng_state()
    first = NAMED[name](1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert NAMED[name](1).fingerprint() == first.fingerprint()
    assert NAMED[name](2).fingerprint() != first.fingerprint()
    assert not first.training
    assert not any(parameter.requires_grad for parameter in first.parameters())


def test_random_batch_normalisations_wait_for_statistics():
    assert not NAMED["random"](0).calibrated
    assert not NAMED["timm"](0).calibrated
    assert NAMED["transformers"](0).calibrated  # it has none
    assert Random(lambda: nn.Conv2d(3, 4, 3)).calibrated
    assert NAMED["random"](0).calibrate([torch.rand(2, 3, 8, 8)]).calibrated


def test_timm_brings_its_preprocessing():
    vit = Timm("vit_tiny_patch16_224", weights="random", settings=VIT)
    config = timm.data.resolve_model_data_config(vit.model)
    assert (
        vit.norm
        == ImageNorm(tuple(config["mean"]), tuple(config["std"]))
        == ImageNorm((0.5,) * 3, (0.5,) * 3)
    )
    assert vit.size == (224, 224)  # a plain transformer takes one size only
    assert vit(torch.rand(1, 3, 32, 48)).shape == (1, 1000)
    free = {**VIT, "dynamic_img_size": True}
    assert Timm("vit_tiny_patch16_224", weights="random", settings=free).size is None
    assert Timm("vit_tiny_patch16_224", weights="random", settings=VIT, size=(32, 32)).size == (
        32,
        32,
    )
    smaller = {**VIT, "img_size": (32, 48)}
    assert Timm("vit_tiny_patch16_224", weights="random", settings=smaller).size == (32, 48)
    resnet = Timm("resnet10t", weights="random")
    assert resnet.size is None
    assert resnet.norm == IMAGENET


def test_torchvision_brings_its_preprocessing():
    vit = Torchvision(
        "vit_b_16",
        weights="random",
        settings={"image_size": 64},
    )
    assert vit.size == (64, 64)
    assert vit.norm == IMAGENET
    assert vit(torch.rand(1, 3, 32, 48)).shape == (1, 1000)
    assert Torchvision("mnasnet0_5", weights="random").size is None


def test_transformers_reads_a_local_folder(tmp_path):
    model = transformers.ViTModel(small_config(image_size=32))
    model.save_pretrained(tmp_path)
    with pytest.raises(TeacherError, match=r"could not be had .*image processor|preprocessor"):
        Transformers(str(tmp_path))
    transformers.ViTImageProcessor(
        image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]
    ).save_pretrained(tmp_path)
    mine = Transformers(str(tmp_path), size=(32, 32))
    assert mine.norm == ImageNorm((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    theirs = model.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in mine.model.state_dict().items())
    again = Transformers(str(tmp_path), weights="random", seed=1, size=(32, 32))
    assert again.fingerprint() != mine.fingerprint()
    assert again(torch.rand(2, 3, 8, 8)).last_hidden_state.shape == (2, 5, 12)


def test_transformers_makes_the_class_that_is_asked_for():
    mine = Transformers(
        "any", weights="random", config=small_config(), auto_class="AutoModelForImageClassification"
    )
    assert isinstance(mine.model, transformers.ViTForImageClassification)


@pytest.mark.parametrize("kind", ["timm", "torchvision", "transformers"])
def test_weights_from_a_file(kind, tmp_path):
    source = NAMED[kind](1)
    torch.save(source.model.state_dict(), tmp_path / "weights.pt")
    mine = {
        "timm": lambda path: Timm("resnet10t", weights=path),
        "torchvision": lambda path: Torchvision("mnasnet0_5", weights=path),
        "transformers": lambda path: Transformers("any", weights=path, config=small_config()),
    }[kind]
    loaded = mine(tmp_path / "weights.pt")
    assert loaded.fingerprint() == source.fingerprint()
    assert loaded.calibrated
    with pytest.raises(TeacherError, match="no checkpoint at"):
        mine(str(tmp_path / "gone.pt"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Timm("resnet81"), r"timm has no model 'resnet81'. Did you mean resnet"),
        (
            lambda: Torchvision("resnet81"),
            r"torchvision has no model 'resnet81'. Did you mean resn",
        ),
        (
            lambda: Transformers("any", config=small_config(), auto_class="AutoModle"),
            r"transformers has no 'AutoModle'. Did you mean AutoModel",
        ),
    ],
)
def test_wrong_names_get_a_hint(make, message):
    with pytest.raises(TeacherError, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_giant_patch14_224", "No pretrained weights exist"),
        ("vit_tiny_patch16_224.no_such_tag", "no_such_tag"),
    ],
)
def test_names_of_timm_without_weights(name, reason):
    with pytest.raises(
        TeacherError, match=rf"'{name}' could not be had .*{reason}.*weights=\"path"
    ):
        Timm(name, settings=VIT)


def test_a_mistake_in_the_settings_is_shown_as_it_is():
    with pytest.raises(TypeError, match="widht"):
        Timm("vit_tiny_patch16_224", weights="random", settings={"widht": 3})


def test_without_a_network_torchvision_says_what_to_do(monkeypatch):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(
        torchvision.models.mnasnet.MNASNet1_0_Weights, "get_state_dict", offline, raising=False
    )
    monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", offline)
    with pytest.raises(
        TeacherError, match=r"URLError: .*no network.*Give a local file as weights="
    ):
        Torchvision("mnasnet0_5")


def test_without_a_network_every_hub_says_what_to_do(tmp_path):
    """In a process of its own: the hub reads its settings when it is imported."""
    program = """
from anyteacher.errors import TeacherError
from anyteacher.teachers import Timm, Transformers
makers = (
    lambda: Timm("resnet10t"),
    lambda: Timm("hf-hub:timm/resnet10t.c3_in1k"),
    lambda: Transformers("google/vit-base-patch16-224"),
    lambda: Transformers("google/vit-base-patch16-224", weights="random"),
    lambda: Transformers("google/vit-base-patch16-224", weights="some.pt"),
)
for make in makers:
    try:
        make()
    except TeacherError as error:
        assert 'weights="path/to/file"' in str(error), error
        print("ok")
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.stdout.split() == ["ok"] * 5, done.stderr


@pytest.mark.parametrize(
    ("module", "make"),
    [
        ("timm", lambda: Timm("resnet10t")),
        ("torchvision", lambda: Torchvision("mnasnet0_5")),
        ("transformers", lambda: Transformers("any")),
    ],
)
def test_a_library_that_is_missing_names_its_extra(module, make, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'anyteacher\[{module}\]'"):
        make()
