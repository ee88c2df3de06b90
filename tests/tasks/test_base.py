import pytest
import torch

from anyteacher.errors import DataError
from anyteacher.tasks import Classification, Depth, Segmentation
from anyteacher.tasks.base import check_labels, valid_mean


def test_valid_mean_of_each_image() -> None:
    torch.manual_seed(0)
    values, valid = torch.randn(4, 1, 5, 6), torch.rand(4, 1, 5, 6) < 0.5
    valid[2:] = False
    valid[3, 0, 0, 0] = True
    values[~valid] = torch.nan
    slow = [
        sum(kept) / len(kept) if (kept := values[i][valid[i]].tolist()) else 0.0 for i in range(4)
    ]
    torch.testing.assert_close(valid_mean(values, valid), torch.tensor(slow))


def test_check_labels() -> None:
    check_labels(torch.tensor([0, 2, 255]), 3, ignore=255)
    check_labels(torch.tensor([255]), 3, ignore=255)
    check_labels(torch.tensor([], dtype=torch.long), 3)
    check_labels(torch.tensor([0, 2], dtype=torch.uint8), 3)
    with pytest.raises(DataError, match=r"from 0 to 3.*3 classes: 0 to 2\. Set"):
        check_labels(torch.tensor([0, 3]), 3)
    with pytest.raises(DataError, match=r"from -1 to 1.*255 for ignored"):
        check_labels(torch.tensor([-1, 1, 255]), 3, ignore=255)
    with pytest.raises(DataError, match="integers"):
        check_labels(torch.tensor([0.0]), 3)


def test_the_classes_of_a_batch_are_the_tasks_own() -> None:
    label, pixels = torch.arange(2), torch.zeros(2, 4, 4).long()
    both = {"label": label, "segmentation": pixels}
    found = {task: task.classes_in(both) for task in (Classification(3), Segmentation(3), Depth())}
    assert [value is pixels for value in found.values()] == [False, True, False]
    assert Depth().classes_in({"segmentation": pixels}) is pixels
    assert Depth().classes_in({"depth": pixels}) is None
