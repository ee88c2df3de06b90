import pytest
import segmentation_models_pytorch as smp
import torch

import anyteacher as at
from anyteacher.errors import TeacherError
from anyteacher.normalization import IMAGENET, ImageNorm
from anyteacher.survey import suggest, survey
from anyteacher.teachers import SegmentationModels
from anyteacher.teachers import smp as module

IMAGES = torch.rand(2, 3, 64, 96)


def random(name="unet", **given):
    return SegmentationModels(
        name, **{"encoder": "mobilenet_v2", "weights": "random", "settings": {"classes": 5}} | given
    )


def test_it_is_a_model_of_the_library_with_its_settings():
    teacher = random().calibrate([IMAGES])
    assert isinstance(teacher.model, smp.Unet)
    assert teacher(IMAGES).shape == (2, 5, 64, 96)
    assert teacher.norm == IMAGENET
    assert isinstance(random("FPN").model, smp.FPN)


def test_the_stages_of_its_encoder_and_decoder_are_proposed():
    found = {c.path: c for c in survey(random(encoder="resnet18").model, IMAGES)}
    assert [found[f"encoder.layer{i}"].stride for i in (1, 2, 3, 4)] == [4, 8, 16, 32]
    assert [found[f"decoder.blocks.{i}"].stride for i in range(5)] == [16, 8, 4, 2, 1]
    pairs = suggest(list(found.values()), list(found.values()))
    assert [theirs.stride for _, theirs in pairs] == [32, 16, 8]


def test_a_student_learns_from_it():
    teacher = random(encoder="resnet18").calibrate([IMAGES])
    student = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3, 16))
    link = at.Link("0", "encoder.layer3")
    out = at.Distiller(student, teacher, [link], example=IMAGES)(IMAGES)
    out.total.backward()
    assert out.total > 0
    assert student[0].weight.grad.abs().sum() > 0


def test_pretrained_weights_bring_their_preprocessing(monkeypatch):
    asked = []

    def settings(encoder, pretrained):
        asked.append((encoder, pretrained))
        return {
            "input_space": "BGR",
            "input_range": [0, 255],
            "mean": [51.0, 102.0, 153.0],
            "std": [255.0, 127.5, 51.0],
        }

    made = smp.create_model("unet", "mobilenet_v2", encoder_weights=None)
    monkeypatch.setattr(smp.encoders, "get_preprocessing_params", settings)
    monkeypatch.setattr(smp, "create_model", lambda *args, **given: asked.append(given) or made)
    teacher = SegmentationModels("unet", encoder="mobilenet_v2")
    assert asked == [
        {"encoder_name": "mobilenet_v2", "encoder_weights": "imagenet"},
        ("mobilenet_v2", "imagenet"),
    ]
    # The library reverses the channels and then subtracts; the teacher says it in their own order.
    images = torch.rand(1, 3, 4, 4)
    numbers = settings("", "")
    mean, std = (torch.tensor(numbers[name])[:, None, None] for name in ("mean", "std"))
    expected = (255 * images.flip(1) - mean) / std
    torch.testing.assert_close(teacher.prepare(images), expected)


@pytest.mark.parametrize("weights", ["random", "file"])
def test_the_normalisation_of_an_encoder_of_timm_is_known_without_its_weights(weights, tmp_path):
    encoder, path = "tu-xception41", tmp_path / "weights.pt"
    if weights == "file":
        made = smp.create_model("unet", encoder, encoder_weights=None, classes=5)
        torch.save(made.state_dict(), path)
        weights = path
    assert random(encoder=encoder, weights=weights).norm == ImageNorm((0.5,) * 3, (0.5,) * 3)
    # One that has no pretrained weights has no normalisation of its own.
    assert random(encoder="tu-mobilenetv3_large_075", weights="random").norm == IMAGENET


def test_a_trained_encoder_whose_normalisation_only_the_hub_knows_asks_for_it(tmp_path):
    made = smp.create_model("unet", "xception", encoder_weights=None, classes=5)
    torch.save(made.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(TeacherError, match=r"trained 'xception' .*norm=ImageNorm\(mean, std\)"):
        random(encoder="xception", weights=tmp_path / "weights.pt")
    norm = ImageNorm((0.5,), (0.5,))
    assert random(encoder="xception", weights=tmp_path / "weights.pt", norm=norm).norm == norm
    assert random(encoder="xception").norm == IMAGENET


def test_it_says_that_nobody_has_trained_the_decoder(monkeypatch):
    made = smp.create_model("unet", "mobilenet_v2", encoder_weights=None)
    monkeypatch.setattr(smp, "create_model", lambda *args, **given: made)
    teacher = random(weights="pretrained", norm=IMAGENET, seed=4)
    words = "with pretrained weights of its encoder, and a decoder with random weights (seed 4);"
    assert words in teacher.described()


def test_a_whole_model_from_a_folder(tmp_path):
    source = smp.create_model("fpn", "mobilenet_v2", encoder_weights=None, classes=3)
    # As of a model that was trained from ImageNet's weights, which need not be fetched again.
    source.config["encoder_weights"] = "imagenet"
    source.save_pretrained(tmp_path / "model")
    norm = ImageNorm((0.5,), (0.5,))
    teacher = SegmentationModels(str(tmp_path / "model"), norm=norm)
    assert isinstance(teacher.model, smp.FPN)
    assert teacher.norm == norm
    assert teacher.fingerprint() == at.Teacher(source).fingerprint()
    with pytest.raises(TeacherError, match=r"is a whole model with its own weights.*'random'"):
        SegmentationModels(str(tmp_path / "model"), weights="random")


def test_a_whole_model_whose_preprocessing_cannot_be_had(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network")

    source = smp.create_model("fpn", "mobilenet_v2", encoder_weights=None)
    source.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(smp.encoders, "get_preprocessing_params", offline)
    with pytest.raises(TeacherError, match=r"'mobilenet_v2' .*no network.*norm=ImageNorm\("):
        SegmentationModels(str(tmp_path / "model"))


@pytest.mark.parametrize(
    ("name", "encoder", "message"),
    [
        ("unot", "resnet18", "no architecture 'unot'. Did you mean unet"),
        ("unet", "resnet19", "no encoder 'resnet19'. Did you mean resnet"),
        ("unet", "tu-resnet19x", "no encoder 'tu-resnet19x'.*written tu-NAME"),
    ],
)
def test_wrong_names_get_a_hint(name, encoder, message):
    with pytest.raises(TeacherError, match=message):
        SegmentationModels(name, encoder=encoder)


def test_the_weights_of_an_encoder():
    assert module._weights_of(smp, "resnet34") == "imagenet"
    assert module._weights_of(smp, "tu-resnet10t") is True
    assert module._weights_of(smp, "resnext101_32x16d") == "instagram"
