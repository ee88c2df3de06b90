import pytest
from torch import nn

from anyteacher.errors import ConfigError
from anyteacher.layers import _by_import_path, _named_model
from anyteacher.models import ConvNet


def test_keyword_arguments_are_literals():
    model = _by_import_path("anyteacher.models.ConvNet(classes=3, widths=(4, 5, 6))")
    assert isinstance(model, ConvNet)
    assert model.head.weight.shape == (3, 6)
    assert isinstance(_by_import_path("torch.nn.Identity"), nn.Identity)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("ConvNet", "nor the import path"),
        ("anyteacher.models.ConvNet(classes=open('x'))", "nor the import path"),
        ("anyteacher.models.ConvNet(**{'classes': 3})", "arguments go by name"),
        ("anyteacher.models.ConvNet(classes=", "nor the import path"),
        ("anyteacher.nothing.ConvNet", "No module named"),
        ("anyteacher.models.__all__", "is a list, not a model"),
        ("os.getpid", "gives a int, not a torch module"),
    ],
)
def test_what_is_no_model(name, match):
    with pytest.raises(ConfigError, match=match):
        _by_import_path(name)


def test_models_of_libraries_are_random():
    teacher = _named_model("torchvision:squeezenet1_1")
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
