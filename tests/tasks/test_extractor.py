import pytest
import torch

from anyteacher.errors import ConfigError, TapError, TeacherError
from anyteacher.models import ConvNet
from anyteacher.normalization import ImageNorm
from anyteacher.tasks.extractor import Extractor
from anyteacher.teacher import Teacher
from anyteacher.teachers import Random


def test_features_are_those_of_the_layer_at_its_own_size_and_normalisation() -> None:
    model = ConvNet(5, in_channels=3, widths=(4, 8))
    norm = ImageNorm((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    extract = Extractor(lambda: Teacher(model, norm=norm, size=(8, 8)), "stages.1")
    assert extract.name == "ConvNet.stages.1"
    pictures = torch.rand(2, 3, 8, 8)
    mean, std = (torch.tensor(x).reshape(3, 1, 1) for x in (norm.mean, norm.std))
    with torch.no_grad():
        first = model.stages[0]((pictures - mean) / std)
        expected = model.stages[1](first).mean((2, 3))
    torch.testing.assert_close(extract(pictures), expected)
    assert extract(torch.rand(2, 3, 30, 20)).shape == (2, 8)


def test_a_vector_is_taken_as_it_is_and_no_hook_stays() -> None:
    model = ConvNet(5, in_channels=3, widths=(4, 8))
    extract = Extractor(lambda: Teacher(model), "head")
    pictures = torch.rand(2, 3, 8, 8)
    seen = extract(pictures)
    torch.testing.assert_close(seen, model(pictures))
    assert not any(module._forward_hooks for module in model.modules())


def test_pictures_that_the_network_does_not_take_are_told_in_a_line() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 9), torch.nn.Flatten())
    extract = Extractor(lambda: Teacher(model), "0")
    with pytest.raises(TeacherError, match=r"images of shape \(2, 3, 8, 8\) .*Set the `size`"):
        extract(torch.rand(2, 3, 8, 8))


def test_what_cannot_measure_is_refused() -> None:
    model = ConvNet(5, in_channels=3, widths=(4, 8))
    with pytest.raises(TapError, match=r"no module 'stages\.2'"):
        _ = Extractor(lambda: Teacher(model), "stages.2").network
    with pytest.raises(ConfigError, match="random network with batch normalisation"):
        _ = Extractor(lambda: Random(lambda: model), "stages.1").name


def test_the_network_is_made_once_and_not_before_it_is_needed() -> None:
    made = []

    def make() -> Teacher:
        made.append(Teacher(ConvNet(5, in_channels=3, widths=(4, 8))))
        return made[-1]

    extract = Extractor(make, "stages.1")
    assert not made
    pictures = torch.rand(2, 3, 8, 8)
    assert torch.equal(extract(pictures), extract(pictures))
    assert extract.name == "ConvNet.stages.1"
    assert len(made) == 1
