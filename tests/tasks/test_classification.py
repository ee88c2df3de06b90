import json
import math

import pytest
import torch

from anyteacher.errors import ConfigError, DataError
from anyteacher.facts import Facts
from anyteacher.tasks import Classification


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_equals_the_slow_reference(smoothing: float) -> None:
    torch.manual_seed(0)
    output, labels = torch.randn(6, 5, dtype=torch.float64), torch.randint(0, 5, (6,))
    total = 0.0
    for logits, label in zip(output.tolist(), labels.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(x) for x in logits))
        for index, x in enumerate(logits):
            wanted = (index == label) * (1 - smoothing) + smoothing / 5
            total += wanted * (log_sum - x) / 6
    loss = Classification(5, label_smoothing=smoothing).loss(output, {"label": labels})
    assert float(loss) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("label", [-1, 10, 255])
def test_labels_that_no_class_has(label: int) -> None:
    task = Classification(10)
    with pytest.raises(DataError, match=f"{label}.*10 classes"):
        task.loss(torch.zeros(2, 10), {"label": torch.tensor([3, label])})


def test_metrics_have_top5_beyond_five_classes() -> None:
    for classes, names in [(5, {"top1"}), (6, {"top1", "top5"})]:
        task, metrics = Classification(classes), Classification(classes).metrics()
        task.update(metrics, torch.eye(classes), {"label": torch.arange(classes)})
        assert set(metrics.compute()) == names


def test_saved_classes_are_the_best(tmp_path) -> None:
    task = Classification(7)
    prediction = task.prediction(torch.tensor([[0.0, 3, 1, 2, -1, -2, -3]]), (8, 8))[0]
    (path,) = task.save(prediction, tmp_path / "photo")
    top = json.loads(path.read_text())["top"]
    assert [entry["class"] for entry in top] == [1, 3, 2, 0, 4]
    assert top[0]["probability"] == pytest.approx(float(prediction[1]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": 1}, "at least 2 classes, not 1"),
        ({"classes": 3, "label_smoothing": 1.0}, "label_smoothing must lie in"),
        ({"classes": 3, "mixup": -0.1}, "0 or more, but are -0.1 and 0.0"),
        ({"classes": 3, "cutmix": -1}, "0 or more, but are 0.0 and -1"),
        ({"classes": 3, "mixup": math.nan}, "0 or more, but are nan and 0.0"),
        ({"classes": 3, "cutmix": math.inf}, "0 or more, but are 0.0 and inf"),
    ],
)
def test_impossible_settings(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Classification(**settings)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_of_shares_is_the_mean_of_the_losses_of_both_classes(smoothing: float) -> None:
    task = Classification(5, label_smoothing=smoothing)
    output = torch.randn(1, 5, dtype=torch.float64)
    losses = [task.loss(output, {"label": torch.tensor([k])}) for k in (1, 4)]
    shares = torch.tensor([[0, 0.3, 0, 0, 0.7]], dtype=torch.float64)
    expected = 0.3 * losses[0] + 0.7 * losses[1]
    torch.testing.assert_close(task.loss(output, {"label": shares}), expected)
    with pytest.raises(
        DataError, match=r"must be \(batch\), but is \(1, 4\)"
    ):  # shares of other classes than these
        task.loss(output, {"label": shares[:, :4]})


def test_mixing_makes_a_batch_of_no_one_class_and_is_off_unless_asked() -> None:
    batch = {
        "image": torch.rand(4, 1, 8, 8),
        "label": torch.arange(4),
        "index": torch.arange(4),
        "segmentation": torch.zeros(4, 8, 8).long(),
    }
    assert Classification(5).varied(batch) is batch
    task = Classification(5, mixup=0.4)
    varied = task.varied(batch)
    assert set(varied) == {"image", "label"}
    assert varied["label"].shape == (4, 5)
    assert task.classes_in(varied) is None
    assert task.classes_in(batch) is batch["label"]
    with pytest.raises(DataError, match=r"7.*5 classes"):
        task.varied({**batch, "label": torch.full((4,), 7)})


def test_data_with_other_classes_are_refused():
    Classification(10).check_data(Facts(("label",), {"label": 10}))
    with pytest.raises(ConfigError, match=r"set to 10 classes, and the data has 1000"):
        Classification(10).check_data(Facts(("label",), {"label": 1000}))
