import pytest
import torch

from anyteacher.models import ConvNet


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (1, 1), (28, 28)])
def test_logits_of_images_of_any_size(size: tuple[int, int]) -> None:
    model = ConvNet(10, in_channels=3, widths=(4, 8)).eval()
    assert model(torch.rand(2, 3, *size)).shape == (2, 10)


def test_taps() -> None:
    model, shapes = ConvNet(10), {}
    for name in ("stages.0", "stages.1", "stages.2", "pool", "head"):
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: shapes.update({name: tuple(output.shape)})
        )
    model(torch.rand(2, 1, 8, 8))
    assert shapes == {
        "stages.0": (2, 16, 8, 8),
        "stages.1": (2, 32, 4, 4),
        "stages.2": (2, 64, 2, 2),
        "pool": (2, 64),
        "head": (2, 10),
    }


def test_can_memorise_a_few_images() -> None:
    torch.manual_seed(0)
    model, images, labels = ConvNet(4), torch.rand(8, 1, 8, 8), torch.arange(8) % 4
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(parameter.grad.norm() > 0 for parameter in model.parameters())
    assert (model(images).argmax(1) == labels).all()
