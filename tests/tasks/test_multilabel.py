import json
import math

import pytest
import torch

from anyteacher.errors import ConfigError, DataError
from anyteacher.facts import Facts
from anyteacher.tasks import MultiLabel


def test_loss_equals_the_slow_reference() -> None:
    torch.manual_seed(0)
    output = torch.randn(6, 5, dtype=torch.float64)
    target = (torch.rand(6, 5) < 0.4).double()
    total = 0.0
    for logits, present in zip(output.tolist(), target.tolist(), strict=True):
        for x, y in zip(logits, present, strict=True):
            probability = 1 / (1 + math.exp(-x))
            total -= math.log(probability if y else 1 - probability) / 30
    loss = MultiLabel(5).loss(output, {"presence": target})
    assert float(loss) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
def test_presence_of_any_type(dtype: torch.dtype) -> None:
    task, output = MultiLabel(3), torch.randn(2, 3)
    target = torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    expected = task.loss(output, {"presence": target})
    assert task.loss(output, {"presence": target.to(dtype)}) == expected
    metrics = task.metrics()
    task.update(metrics, 40 * target - 20, {"presence": target.to(dtype)})
    assert metrics.compute()["map"] == 1


def test_an_image_may_show_nothing() -> None:
    output = torch.zeros(1, 3, requires_grad=True)
    MultiLabel(3).loss(output, {"presence": torch.zeros(1, 3)}).backward()
    assert (output.grad > 0).all()  # less of every class is better


def test_other_targets_are_refused() -> None:
    task, output = MultiLabel(4), torch.zeros(2, 4)
    for wrong in (torch.full((2, 4), 2), torch.full((2, 4), -1.0), torch.full((2, 4), 0.5)):
        with pytest.raises(DataError, match=r"1 where a class.*from (2|-1\.0|0\.5) to"):
            task.loss(output, {"presence": wrong})
    for wrong in (torch.zeros(2, 3), torch.zeros(2).long()):
        with pytest.raises(DataError, match=r"\(batch, 4\).*\(2,"):
            task.update(task.metrics(), output, {"presence": wrong})


def test_saved_are_all_probabilities_and_what_is_present(tmp_path) -> None:
    task = MultiLabel(4)
    prediction = task.prediction(torch.tensor([[2.0, -3.0, 0.1, -0.1]]), (8, 8))[0]
    (path,) = task.save(prediction, tmp_path / "photo")
    found = json.loads(path.read_text())
    assert found["present"] == [0, 2]
    assert found["probabilities"] == pytest.approx(prediction.tolist())


def test_impossible_number_of_classes() -> None:
    with pytest.raises(ConfigError, match="at least 1 class, not 0"):
        MultiLabel(0)


def test_data_with_other_classes_are_refused():
    MultiLabel(4).check_data(Facts(("presence",), {"presence": 4}))
    with pytest.raises(ConfigError, match=r"set to 5 classes, and the data has 4"):
        MultiLabel(5).check_data(Facts(("presence",), {"presence": 4}))
