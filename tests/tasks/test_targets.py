import pytest
import torch

from anyteacher.errors import DataError
from anyteacher.tasks.targets import check_labels, size_of, valid_mean


def test_size_is_height_and_width() -> None:
    assert size_of(torch.zeros(2, 3, 4, 5)) == (4, 5)
    assert size_of(torch.zeros(2, 4, 5)) == (4, 5)


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
