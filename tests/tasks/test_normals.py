import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from anyteacher.tasks import Normals


def test_loss_equals_the_slow_reference() -> None:
    torch.manual_seed(0)
    output = torch.randn(3, 3, 4, 5, dtype=torch.float64)
    target = torch.randn(3, 3, 4, 5, dtype=torch.float64)
    target[:, :, 0, 0] = 0
    target[0, 1, 2, 2] = math.nan
    target[2] = 0
    images = []
    for vectors, truths in zip(output, target, strict=True):
        losses = []
        for y in range(4):
            for x in range(5):
                p, g = vectors[:, y, x].tolist(), truths[:, y, x].tolist()
                if any(map(math.isnan, g)) or not any(g):
                    continue
                dot = sum(a * b for a, b in zip(p, g, strict=True))
                losses.append(1 - dot / math.hypot(*p) / math.hypot(*g))
        images.append(sum(losses) / len(losses) if losses else 0.0)
    loss = Normals().loss(output, {"normals": target})
    assert float(loss) == pytest.approx(sum(images) / 3, rel=1e-12)


def test_gradient_is_that_of_finite_differences_and_bounded_at_zero() -> None:
    torch.manual_seed(0)
    target = F.normalize(torch.randn(1, 3, 2, 3, dtype=torch.float64))
    output = torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: Normals().loss(x, {"normals": target}), output)
    nothing = torch.zeros(1, 3, 2, 3, requires_grad=True)
    Normals().loss(nothing, {"normals": target.float()}).backward()
    assert nothing.grad.isfinite().all()
    assert (nothing.grad != 0).any(1).all()  # and it still learns


def test_length_of_output_and_target_is_of_no_matter() -> None:
    torch.manual_seed(0)
    output, target = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    loss = Normals().loss(output, {"normals": target})
    torch.testing.assert_close(Normals().loss(7 * output, {"normals": 0.3 * target}), loss)


def test_saved_colours_can_be_turned_back(tmp_path) -> None:
    torch.manual_seed(0)
    prediction = Normals().prediction(torch.randn(1, 3, 5, 7), (5, 7))[0]
    (path,) = Normals().save(prediction, tmp_path / "photo")
    assert path.name == "photo_normals.png"
    with Image.open(path) as picture:
        colors = np.asarray(picture).astype(np.float32)
    back = (2 * colors / 255 - 1) * [1, -1, -1]
    assert np.abs(back - prediction.permute(1, 2, 0).numpy()).max() <= 1 / 255 + 1e-6


def test_unknown_normals_are_grey() -> None:
    values = torch.zeros(1, 3, 1, 2)
    values[..., 1] = math.nan
    assert Normals().draw(values).unique().tolist() == [128]
