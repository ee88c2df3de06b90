import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from anyteacher.errors import DataError
from anyteacher.images import read_depth
from anyteacher.models import ConvNet, EncoderDecoder
from anyteacher.predict import predict, predict_folder, step_of
from anyteacher.tasks import Classification, Depth, Edges, Normals, Segmentation, Translation
from anyteacher.training import TrainingModule


@pytest.fixture
def depth():
    return TrainingModule(Depth(), EncoderDecoder(1, width=4, bias=1.1))


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    (images / "more").mkdir(parents=True)

    def pixels(*shape):
        return rng.integers(0, 256, shape, dtype=np.uint8)

    Image.fromarray(pixels(40, 61, 3)).save(images / "a.jpg")
    Image.fromarray(pixels(20, 31, 4), "RGBA").save(images / "a.png")
    Image.fromarray(pixels(33, 17)).save(images / "more" / "grey.png")
    Image.fromarray(pixels(9, 50).astype(np.uint16) * 257).save(images / "sixteen.png")
    whole = (images / "a.jpg").read_bytes()
    (images / "cut.jpg").write_bytes(whole[: len(whole) // 3])
    (images / "notes.txt").write_text("no image")
    return images


SIZES = {"a_jpg": (40, 61), "a_png": (20, 31), "more/grey_png": (33, 17), "sixteen_png": (9, 50)}


@pytest.mark.parametrize("resolution", [0, 16])
def test_every_image_at_its_own_size_and_the_broken_one_named(depth, folder, tmp_path, resolution):
    output = tmp_path / "out"
    results = list(predict_folder(depth, folder, output, channels=3, resolution=resolution, step=8))
    failed = [result for result in results if result.problem]
    assert [result.image.name for result in failed] == ["cut.jpg"]
    assert "cut.jpg" in failed[0].problem
    assert failed[0].files == ()
    written = {str(p.relative_to(output)) for p in output.rglob("*") if p.is_file()}
    assert written == {f"{stem}_depth{end}.png" for stem in SIZES for end in ("", "_color")}
    for stem, size in SIZES.items():
        metres = read_depth(output / f"{stem}_depth.png")
        assert metres.shape == (1, *size)
        assert 0.1 <= metres.min() <= metres.max() <= 20
        with Image.open(output / f"{stem}_depth_color.png") as picture:
            assert picture.size == size[::-1]


def test_the_student_sees_the_shorter_side_at_the_resolution(depth):
    seen = []
    depth.student.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[2:]))
    for resolution, step, expected in [
        (16, 1, (16, 24)),
        (16, 16, (16, 32)),
        (0, 1, (40, 61)),
        (0, 32, (64, 64)),
        (20, 16, (32, 32)),
    ]:
        prediction = predict(depth, torch.rand(3, 40, 61), resolution, step)
        assert prediction.shape == (1, 40, 61)
        assert (*seen.pop(),) == expected


def test_a_global_task_sees_nothing_but_the_image():
    module, seen = TrainingModule(Classification(10), ConvNet(10, in_channels=3)), []
    module.student.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[2:]))
    predict(module, torch.rand(3, 40, 61), 16, 16)
    assert (*seen[0],) == (16, 24)


class Strided(nn.Sequential):
    """Four convolutions that halve the grid, with zeros around the picture."""

    def __init__(self, channels: int) -> None:
        widths = [3, 4, 4, 4, channels]
        layers = [nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths)]
        super().__init__(*(part for layer in layers for part in (layer, nn.Tanh())))
        for layer in layers:
            nn.init.normal_(layer.weight, std=0.5)


DENSE = {
    "depth": Depth,
    "edges": Edges,
    "normals": Normals,
    "segmentation": lambda: Segmentation(7),
    "translation": Translation,
}


@pytest.mark.parametrize("resolution", [64, 48, 0])
@pytest.mark.parametrize("shape", [(96, 128), (128, 96), (127, 97), (64, 85)], ids=str)
@pytest.mark.parametrize("name", DENSE)
def test_no_band_at_the_border_that_training_never_had(name, shape, resolution):
    task = DENSE[name]()
    module = TrainingModule(task, Strided(task.out_channels))
    module.eval()

    found = predict(module, torch.full((3, *shape), 0.7), resolution, step_of((64, 64)))
    right, below, inner = ends(found)
    torch.testing.assert_close(right, inner)
    torch.testing.assert_close(below, inner)


def ends(prediction):
    """Along the right and the lower border, and as far from all borders as can be."""
    down, across = (2 * side // 3 for side in prediction.shape[-2:])
    places = (down, -1), (-1, across), (down, across)
    return [prediction[..., row, column] for row, column in places]


def test_without_filling_up_there_would_be_one():
    module = TrainingModule(Edges(), Strided(1))
    module.eval()
    right, below, inner = ends(predict(module, torch.full((3, 64, 85), 0.7), 64, 1))
    torch.testing.assert_close(below, inner)
    assert (right - inner).abs() > 0.05


@pytest.mark.parametrize("shape", [(48, 85), (85, 48), (31, 40)])
def test_the_prediction_lies_where_the_image_does(shape):
    student = nn.Conv2d(3, 3, 1, bias=False)
    nn.init.dirac_(student.weight)
    module = TrainingModule(Translation(), student)
    down, right = (torch.linspace(0.1, 0.9, side) for side in shape)
    image = torch.stack([*torch.meshgrid(down, right, indexing="ij"), torch.zeros(shape)])
    for resolution in (32, 0):
        found = predict(module, image, resolution, 32)
        assert (found - image)[:, 1:-1, 1:-1].abs().max() < 0.01


def test_prediction_is_the_students_own(depth):
    image = torch.rand(3, 32, 48)
    depth.eval()
    expected = depth.task.prediction(depth.student(image[None]), (32, 48))[0]
    torch.testing.assert_close(predict(depth, image, 32, 16), expected)


def test_grey_student_and_one_image(tmp_path, folder):
    module = TrainingModule(Classification(10), ConvNet(10))
    results = list(
        predict_folder(module, folder / "a.jpg", tmp_path / "o", channels=1, resolution=8, step=8)
    )
    top = json.loads((tmp_path / "o" / "a_jpg.json").read_text())["top"]
    assert results[0].files == (tmp_path / "o" / "a_jpg.json",)
    assert len(top) == 5
    assert not module.training


def test_grey_is_the_brightness_of_the_picture(tmp_path):
    Image.fromarray(np.full((8, 8, 3), (255, 0, 0), dtype=np.uint8)).save(tmp_path / "red.png")
    module = TrainingModule(Classification(10), ConvNet(10))
    seen = []
    module.student.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    list(predict_folder(module, tmp_path, tmp_path / "o", channels=1, resolution=0, step=1))
    torch.testing.assert_close(seen[0], torch.full((1, 1, 8, 8), 0.299))


def test_no_images(depth, tmp_path):
    with pytest.raises(DataError, match="no image in"):
        list(predict_folder(depth, tmp_path, tmp_path / "o", channels=3, resolution=0, step=1))
    with pytest.raises(DataError, match="no folder or image"):
        list(
            predict_folder(depth, tmp_path / "x", tmp_path / "o", channels=3, resolution=0, step=1)
        )
