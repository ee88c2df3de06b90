import pytest
import torch
import transformers
from torch import nn

from anyteacher.errors import ConfigError
from anyteacher.models import ConvNet
from anyteacher.teachers.written import by_import_path, written_model


def test_keyword_arguments_are_literals():
    model = by_import_path("anyteacher.models.ConvNet(classes=3, widths=(4, 5, 6))")
    assert isinstance(model, ConvNet)
    assert model.head.weight.shape == (3, 6)
    assert isinstance(by_import_path("torch.nn.Identity"), nn.Identity)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("ConvNet", "or the import path"),
        ("anyteacher.models.ConvNet(classes=open('x'))", "or the import path"),
        ("anyteacher.models.ConvNet(**{'classes': 3})", "arguments go by name"),
        ("anyteacher.models.ConvNet(classes=", "or the import path"),
        ("anyteacher.nothing.ConvNet", "No module named"),
        ("anyteacher.models.__all__", "is a list, not a model"),
        ("os.getpid", "gives a int, not a torch module"),
    ],
)
def test_what_is_no_model(name, match):
    with pytest.raises(ConfigError, match=match):
        by_import_path(name)


VIT = {
    "model_type": "dinov2",
    "hidden_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


@pytest.fixture
def files(tmp_path):
    """A file or folder of each kind, by the word that stands before its path."""
    model = ConvNet(3).eval()
    images = torch.rand(2, 1, 16, 16)
    dynamic = ({0: torch.export.Dim.AUTO},)
    program = torch.export.export(model, (images,), dynamic_shapes=dynamic)
    torch.export.save(program, tmp_path / "model.pt2")
    with pytest.warns(FutureWarning, match=r"torch\.jit"):
        torch.jit.save(torch.jit.trace(model, images), tmp_path / "model.pt")
    settings = {key: value for key, value in VIT.items() if key != "model_type"}
    (tmp_path / "vit").mkdir()
    transformers.Dinov2Config(**settings).save_pretrained(tmp_path / "vit")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("timm:resnet10t", "ResNet"),
        ("torchvision:squeezenet1_1", "SqueezeNet"),
        ("transformers:{}/vit", "Dinov2Model"),
        ("transformers:{}/vit:AutoBackbone", "Dinov2Backbone"),
        ("smp:fpn:mobilenet_v2", "FPN"),
        ("exported:{}/model.pt2", "UnflattenedModule"),
        ("torchscript:{}/model.pt", "Whole"),
        ("anyteacher.models.ConvNet(classes=3)", "ConvNet"),
    ],
)
def test_every_way_to_write_a_model(text, name, files):
    teacher = written_model(text.format(files))
    assert type(teacher.model).__name__ == name
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("tim:resnet18", "from 'tim'. Did you mean timm"),
        (
            "anyteacher.models.EncoderDecoder(out_channels='a')",
            r"out_channels='a'\)' cannot be built \(TypeError: .*Look at its arguments",
        ),
        ("timm:", "'timm:' names no model. Write timm:NAME, torchvision:NAME"),
    ],
)
def test_what_names_no_kind(text, match):
    with pytest.raises(ConfigError, match=match):
        written_model(text)
