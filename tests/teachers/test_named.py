"""What holds for the teachers of every library."""

import os
import subprocess
import sys
import urllib.error

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
import transformers

from anyteacher.errors import MissingExtraError, TeacherError, require
from anyteacher.normalization import ImageNorm
from anyteacher.teachers import SegmentationModels, Timm, Torchvision, Transformers

CONFIG = {
    "model_type": "vit",
    "hidden_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "image_size": [96, 64],
}
# Each takes weights and a seed; without weights it asks for the pretrained ones.
NAMED = {
    "timm": lambda **given: Timm("resnet10t", **given),
    "torchvision": lambda **given: Torchvision("mnasnet0_5", **given),
    "transformers": lambda **given: Transformers("any/model", config=CONFIG, **given),
    "smp": lambda **given: SegmentationModels("unet", encoder="mobilenet_v2", **given),
}


@pytest.mark.parametrize("name", NAMED)
def test_random_weights_follow_the_seed_and_leave_the_random_state_alone(name):
    make = NAMED[name]
    state = torch.get_rng_state()
    first = make(weights="random", seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert make(weights="random", seed=1).fingerprint() == first.fingerprint()
    assert make(weights="random", seed=2).fingerprint() != first.fingerprint()
    assert not first.training
    assert not any(parameter.requires_grad for parameter in first.parameters())
    assert first.calibrated == (name == "transformers")  # that one has no batch normalisation


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("name", NAMED)
def test_weights_from_a_file(name, ending, tmp_path):
    make = NAMED[name]
    source = make(weights="random", seed=1)
    path = tmp_path / f"weights.{ending}"
    if ending == "pt":
        torch.save(source.model.state_dict(), path)
    else:
        require("safetensors.torch").save_file(source.model.state_dict(), path)
    loaded = make(weights=str(path))
    assert loaded.fingerprint() == source.fingerprint()
    assert loaded.calibrated
    with pytest.raises(TeacherError, match="no checkpoint at"):
        make(weights=tmp_path / "gone.pt")


@pytest.mark.parametrize("name", NAMED)
def test_another_normalisation_and_size_may_be_stated(name):
    norm = ImageNorm((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    teacher = NAMED[name](weights="random", norm=norm, size=(96, 64))
    assert (teacher.norm, teacher.size) == (norm, (96, 64))
    assert teacher.prepare(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 96, 64)


def test_the_message_of_a_hub_is_kept_to_its_first_line(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no such host\nand a long story")

    monkeypatch.setattr(timm, "create_model", refuse)
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    message = r"pretrained weights of 'resnet10t' .*no such host\)\. .* HF_HUB_OFFLINE=1 .* spares"
    with pytest.raises(TeacherError, match=message):
        Timm("resnet10t")


@pytest.mark.parametrize("weights", ["random", "pretrained"])
def test_settings_that_a_model_does_not_take_are_told_in_a_line(weights, monkeypatch):
    monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", lambda *a, **k: {})
    message = rf"cannot be made with {weights} weights \(TypeError: .*'bogus'.*name and settings"
    for make in (lambda **given: Timm("resnet10t", **given), NAMED["torchvision"]):
        with pytest.raises(TeacherError, match=message):
            make(weights=weights, settings={"bogus": 1})


@pytest.mark.parametrize("name", ["timm", "torchvision", "smp"])
def test_settings_that_are_no_mapping(name):
    with pytest.raises(TeacherError, match=r"are a mapping .*, got 'drop_rate'\. Write settings="):
        NAMED[name](weights="random", settings="drop_rate")


def test_settings_that_pretrained_weights_do_not_take_are_no_matter_of_a_network():
    match = r"expected value 1000 but got 10 .*weights=\"random"
    with pytest.raises(TeacherError, match=match) as no:
        Torchvision("mnasnet0_5", settings={"num_classes": 10})
    assert "HF_HUB_OFFLINE" not in str(no.value)


@pytest.mark.parametrize("name", NAMED)
def test_empty_weights_are_no_folder(name):
    with pytest.raises(TeacherError, match=r"said by an empty text. Say \"pretrained\", \"random"):
        NAMED[name](weights="")


@pytest.mark.parametrize("name", NAMED)
def test_it_says_whose_weights_it_has(name, tmp_path):
    random = NAMED[name](weights="random", seed=3)
    assert "parameters with random weights (seed 3); images" in random.described()
    torch.save(random.model.state_dict(), tmp_path / "some.pt")
    loaded = NAMED[name](weights=tmp_path / "some.pt")
    assert f"with the weights of {tmp_path}/some.pt; images" in loaded.described()


def test_without_a_network_torchvision_says_what_to_do(monkeypatch):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", offline)
    with pytest.raises(
        TeacherError, match=r"URLError: .*no network.*Give a local file as weights="
    ):
        Torchvision("mnasnet0_5")


@pytest.mark.parametrize("module", ["hub_mixin", "encoders"])
def test_without_a_network_smp_says_what_to_do(module, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network")

    if module == "encoders":
        monkeypatch.setattr(smp.encoders, "hf_hub_download", offline)
        name = "unet"
    else:
        monkeypatch.setattr(smp.base.hub_mixin, "hf_hub_download", offline)
        name = "smp-hub/no-such-model"
    way = 'weights="path/to/file"' if module == "encoders" else "local folder"
    with pytest.raises(TeacherError, match=rf"of '{name}' .*no network.*{way}"):
        SegmentationModels(name, encoder="mobilenet_v2")


def test_offline_every_hub_says_at_once_what_to_do(tmp_path):
    """In a process of its own: the hub reads its settings when it is imported."""
    program = """
import time
from anyteacher.errors import TeacherError
from anyteacher.teachers import SegmentationModels, Timm, Torchvision, Transformers
FILE, FOLDER = 'weights="path/to/file"', "local folder that has it"
vit = "google/vit-base-patch16-224"
makers = (
    (lambda: Timm("resnet10t"), FILE),
    (lambda: Timm("hf-hub:timm/resnet10t.c3_in1k"), FOLDER),
    (lambda: Transformers(vit), FOLDER),
    (lambda: Torchvision("resnet18"), FILE),
    (lambda: Transformers(vit, weights="random"), FOLDER),
    (lambda: Transformers(vit, weights="some.pt"), FOLDER),
    (lambda: SegmentationModels("unet", encoder="mobilenet_v2"), FILE),
    (lambda: SegmentationModels("smp-hub/upernet-convnext-tiny"), FOLDER),
)
start = time.monotonic()
for make, way in makers:
    try:
        make()
    except TeacherError as error:
        assert way in str(error) and "spares the attempts" not in str(error), error
        print("ok")
assert time.monotonic() - start < 60, "it tried to reach a network"
"""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "TORCH_HOME": str(tmp_path),
    }
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=180, check=False
    )
    assert done.stdout.split() == ["ok"] * 8, done.stderr


@pytest.mark.parametrize(
    ("module", "extra", "name"),
    [
        ("timm", "timm", "timm"),
        ("torchvision", "torchvision", "torchvision"),
        ("transformers", "transformers", "transformers"),
        ("segmentation_models_pytorch", "smp", "smp"),
    ],
)
def test_a_library_that_is_missing_names_its_extra(module, extra, name, monkeypatch):
    for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == module]:
        monkeypatch.setitem(sys.modules, loaded, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'anyteacher\[{extra}\]'"):
        NAMED[name]()


def test_the_libraries_are_there():
    assert transformers.ViTConfig  # what is tested here is not skipped
