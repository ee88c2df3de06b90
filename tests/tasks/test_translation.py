import numpy as np
import pytest
import torch
from PIL import Image

from anyteacher.errors import ConfigError, DataError
from anyteacher.facts import Facts
from anyteacher.tasks import Translation


def test_loss_equals_the_slow_reference() -> None:
    torch.manual_seed(0)
    output = 0.5 + torch.randn(2, 3, 4, 5, dtype=torch.float64)  # within [0, 1] and outside
    target = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    pairs = zip(output.flatten().tolist(), target.flatten().tolist(), strict=True)
    slow = sum(abs(p - g) for p, g in pairs) / target.numel()
    assert float(Translation().loss(output, {"target": target})) == pytest.approx(slow, rel=1e-12)


def test_outside_of_the_colours_is_cut_off_and_still_learned() -> None:
    output = torch.full((1, 3, 2, 2), 7.0, requires_grad=True)
    assert torch.equal(Translation().prediction(output, (2, 2)), torch.ones(1, 3, 2, 2))
    Translation().loss(output, {"target": torch.ones(1, 3, 2, 2)}).backward()
    assert (output.grad > 0).all()


def test_the_key_of_the_target_can_be_chosen() -> None:
    task, output = Translation("relit"), torch.zeros(1, 3, 12, 12)
    batch = {"relit": torch.full((1, 3, 12, 12), 0.25), "target": torch.ones(1, 3, 12, 12)}
    assert task.loss(output, batch) == 0.25
    task.check_data(Facts(("depth", "relit")))
    with pytest.raises(ConfigError, match="'relit', which the data does not have"):
        task.check_data(Facts(("target",)))


def test_other_targets_are_refused() -> None:
    task, output = Translation(), torch.zeros(1, 3, 12, 12)
    with pytest.raises(DataError, match=r"\[0, 1\], but goes from 0\.0 to 255\.0.*255"):
        task.loss(output, {"target": torch.linspace(0, 255, 432).reshape(1, 3, 12, 12)})
    with pytest.raises(DataError, match=r"\(batch, 3, height, width\), but is \(1, 1, 12, 12\)"):
        task.update(task.metrics(), output, {"target": torch.zeros(1, 1, 12, 12)})


def test_saved_is_the_picture(tmp_path) -> None:
    prediction = torch.rand(3, 5, 7)
    (path,) = Translation().save(prediction, tmp_path / "photo")
    assert path.name == "photo_translated.png"
    with Image.open(path) as picture:
        colors = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255
    assert (colors - prediction).abs().max() <= 0.5 / 255 + 1e-6
