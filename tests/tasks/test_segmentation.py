import math

import numpy as np
import pytest
import torch
from PIL import Image

from anyteacher.errors import ConfigError, DataError
from anyteacher.facts import Facts
from anyteacher.tasks.segmentation import Segmentation, dice


def test_loss_equals_the_slow_reference() -> None:
    torch.manual_seed(0)
    output = torch.randn(3, 4, 5, 6, dtype=torch.float64)
    target = torch.randint(0, 4, (3, 5, 6))
    target[torch.rand(3, 5, 6) < 0.3] = 255
    target[1] = 255
    images = []
    for logits, labels in zip(output, target, strict=True):
        losses = [
            math.log(sum(math.exp(x) for x in logits[:, y, x].tolist()))
            - float(logits[labels[y, x], y, x])
            for y in range(5)
            for x in range(6)
            if labels[y, x] != 255
        ]
        images.append(sum(losses) / len(losses) if losses else 0.0)
    loss = Segmentation(4).loss(output, {"segmentation": target})
    assert float(loss) == pytest.approx(sum(images) / 3, rel=1e-12)


def test_labels_of_eight_bits_are_welcome() -> None:
    task, output = Segmentation(4), torch.randn(2, 4, 3, 3)
    target = torch.randint(0, 4, (2, 3, 3))
    small = target.to(torch.uint8)
    assert task.loss(output, {"segmentation": small}) == task.loss(output, {"segmentation": target})


@pytest.mark.parametrize("label", [-1, 4, 254])
def test_labels_that_no_class_has(label: int) -> None:
    task = Segmentation(4)
    target = torch.zeros(2, 3, 3, dtype=torch.long)
    target[0, 0, 0] = label
    batch = {"segmentation": target}
    with pytest.raises(DataError, match=f"{label}.*4 classes"):
        task.loss(torch.zeros(2, 4, 3, 3), batch)
    with pytest.raises(DataError, match=f"{label}.*4 classes"):
        task.update(task.metrics(), torch.zeros(2, 4, 3, 3), batch)


@pytest.mark.parametrize("classes", [0, 1, 256])
def test_impossible_numbers_of_classes(classes: int) -> None:
    with pytest.raises(ConfigError, match=str(classes)):
        Segmentation(classes)


def test_saved_values_are_the_labels(tmp_path) -> None:
    prediction = torch.arange(35).reshape(5, 7) % 6
    labels, colors = Segmentation(6).save(prediction, tmp_path / "photo")
    assert [labels.name, colors.name] == ["photo_classes.png", "photo_classes_color.png"]
    with Image.open(labels) as picture:
        assert np.array_equal(np.asarray(picture), prediction.numpy())
        as_colors = np.asarray(picture.convert("RGB"))
    with Image.open(colors) as picture:
        assert np.array_equal(np.asarray(picture), as_colors)


def test_data_with_other_classes_are_refused():
    Segmentation(19).check_data(Facts(("segmentation",), {"segmentation": 19}))
    with pytest.raises(ConfigError, match=r"set to 7 classes, and the data has 19"):
        Segmentation(7).check_data(Facts(("segmentation",), {"segmentation": 19}))


def slow_dice(output: torch.Tensor, target: torch.Tensor) -> float:
    images = []
    for logits, labels in zip(output, target, strict=True):
        places = [(y, x) for y, x in (labels != 255).nonzero().tolist()]
        shares = {place: logits[:, place[0], place[1]].softmax(0).tolist() for place in places}
        losses = []
        for k in {int(labels[place]) for place in places}:
            p = [shares[place][k] for place in places]
            g = [float(labels[place] == k) for place in places]
            common = sum(a * b for a, b in zip(p, g, strict=True))
            losses.append(1 - 2 * common / (sum(a * a for a in p) + sum(b * b for b in g)))
        images.append(sum(losses) / len(losses) if losses else 0.0)
    return sum(images) / len(images)


def test_dice_equals_the_slow_reference_and_is_added_with_its_weight() -> None:
    torch.manual_seed(0)
    output = torch.randn(3, 5, 4, 6, dtype=torch.float64)
    target = torch.randint(0, 3, (3, 4, 6))  # classes 3 and 4 are in no image
    target[torch.rand(3, 4, 6) < 0.3] = 255
    target[1] = 255
    batch = {"segmentation": target}
    assert float(dice(output, target)) == pytest.approx(slow_dice(output, target), rel=1e-12)
    expected = Segmentation(5).loss(output, batch) + 0.5 * dice(output, target)
    torch.testing.assert_close(Segmentation(5, dice=0.5).loss(output, batch), expected)
    assert torch.autograd.gradcheck(lambda x: dice(x, target), output.requires_grad_())


def test_dice_of_right_and_unlabelled_pictures() -> None:
    target = torch.arange(24).reshape(1, 4, 6) % 3
    right = 50 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).double()
    assert float(dice(right, target)) == pytest.approx(0, abs=1e-12)
    unknown = right.requires_grad_()
    loss = dice(unknown, torch.full_like(target, 255))
    loss.backward()
    assert loss == 0
    assert (unknown.grad == 0).all()


def test_intersection_over_union_of_each_class_that_occurs() -> None:
    task = Segmentation(5, per_class=True)
    target = torch.tensor([[[0, 0, 1, 1, 255]]])
    output = torch.nn.functional.one_hot(torch.tensor([[[0, 1, 1, 1, 4]]]), 5).movedim(-1, 1)
    metrics = task.metrics()
    task.update(metrics, output.float(), {"segmentation": target})
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert found == pytest.approx(
        {"miou": (1 / 2 + 2 / 3) / 2, "pixel_accuracy": 3 / 4, "iou_0": 1 / 2, "iou_1": 2 / 3}
    )


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf")])
def test_impossible_weights_of_dice(weight: float) -> None:
    with pytest.raises(ConfigError, match=f"Dice loss must be 0 or more, not {weight}"):
        Segmentation(5, dice=weight)
