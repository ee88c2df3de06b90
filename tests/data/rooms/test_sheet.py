import numpy as np
import pytest
from PIL import Image

from anyteacher.data import write_contact_sheet
from anyteacher.data.rooms import contact_sheet
from anyteacher.errors import ConfigError


def test_sheet_is_written_with_a_column_for_each_target(tmp_path):
    path = write_contact_sheet(tmp_path / "new" / "rooms.png", "val", 2, (16, 16), seed=3)
    with Image.open(path) as picture:
        sheet = np.asarray(picture)
    assert sheet.shape[0] > 2 * 192
    assert sheet.shape[1] > 6 * 192
    assert [p.name for p in path.parent.iterdir()] == ["rooms.png"]
    assert np.array_equal(sheet, np.asarray(contact_sheet("val", 2, (16, 16), 3)))


def test_unknown_split_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean train"):
        write_contact_sheet(tmp_path / "a.png", "trian", 1)
    assert not list(tmp_path.iterdir())
