import math
import subprocess
import sys

import pytest
import torch

from anyteacher.models import EncoderDecoder


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (37, 51), (17, 1), (1, 1)])
def test_output_has_the_size_of_the_image(size: tuple[int, int]) -> None:
    model = EncoderDecoder(5, width=8, in_channels=4).eval()
    assert model(torch.rand(2, 4, *size)).shape == (2, 5, *size)


def test_taps_and_their_strides() -> None:
    model, shapes = EncoderDecoder(1), {}
    names = [f"encoder.{i}" for i in range(4)] + [f"decoder.{i}" for i in range(3)] + ["head"]
    for name in names:
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: shapes.update({name: tuple(output.shape[1:])})
        )
    model(torch.rand(2, 3, 64, 32))
    assert shapes == {
        "encoder.0": (16, 32, 16),
        "encoder.1": (32, 16, 8),
        "encoder.2": (64, 8, 4),
        "encoder.3": (96, 4, 2),
        "decoder.0": (64, 8, 4),
        "decoder.1": (32, 16, 8),
        "decoder.2": (16, 32, 16),
        "head": (1, 32, 16),
    }


def test_starts_near_the_bias() -> None:
    torch.manual_seed(0)
    output = EncoderDecoder(1, bias=math.log(3))(torch.rand(4, 3, 64, 64))
    assert (output.exp() / 3).log().abs().max() < 0.5
    assert output.std() > 0  # but not constant: the encoder learns from the first step


def test_every_parameter_learns_and_files_can_hold_them() -> None:
    torch.manual_seed(0)
    model = EncoderDecoder(2, width=4)
    model(torch.rand(2, 3, 32, 32)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.norm() > 0, name
        assert parameter.is_contiguous(), name


def test_skip_connections_carry_detail() -> None:
    torch.manual_seed(0)
    model = EncoderDecoder(1, width=4).eval()
    for narrow in model.narrow:
        torch.nn.init.zeros_(narrow.weight)  # cuts the way through the deeper stages
    first, second = model(torch.rand(2, 3, 32, 32))
    assert (first - second).abs().max() > 1e-4


def test_channels_last_changes_nothing() -> None:
    torch.manual_seed(0)
    model, images = EncoderDecoder(1, width=4).double().eval(), torch.rand(2, 3, 20, 36).double()
    torch.testing.assert_close(
        model(images), model(images.contiguous(memory_format=torch.channels_last)), rtol=0, atol=0
    )


def test_models_need_torch_only() -> None:
    code = (
        "import sys, anyteacher.models; "
        "print([m for m in ('torchvision','timm','lightning','torchmetrics','PIL') "
        "if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
