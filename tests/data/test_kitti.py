import layouts
import pytest

from anyteacher.data import KITTIData
from anyteacher.errors import DataError


def test_depth_in_metres_beside_the_raw_recordings(tmp_path):
    data = KITTIData(layouts.kitti(tmp_path))
    train = data.source("train")
    assert [len(train), len(data.source("val")), len(data.source("test"))] == [4, 4, 1]
    sample = train.read(0)
    depth = sample["depth"]
    assert depth.shape == (1, 12, 16)
    assert (depth[0, 1:, :8] == 10).all()
    assert (depth[0, 1:, 8:] == 90).all()
    data.setup("validate")
    assert data.val[0]["depth"].max() == 10  # beyond 80 m nothing is known
    assert (depth[0, 0] == 0).all()
    assert data.source("test").read(0)["depth"].unique().tolist() == [20, 30]
    assert "image_02" in train.name(0)
    assert train.name(1).partition(" and ")[0].endswith(".jpg")


def test_without_the_selection_the_validation_drives_test(tmp_path):
    data = KITTIData(layouts.kitti(tmp_path, selection=False), max_depth=100.0)
    assert len(data.source("test")) == 4
    assert data.source("val").read(0)["depth"].max() == 90
    assert data.facts().max_depth == 100


def test_recordings_may_lie_elsewhere_and_must_be_there(tmp_path):
    root = layouts.kitti(tmp_path / "annotated")
    (tmp_path / "raw").mkdir()
    (root / "2011_09_26").rename(tmp_path / "raw" / "2011_09_26")
    assert len(KITTIData(root, tmp_path / "raw").source("train")) == 4
    with pytest.raises(DataError, match=r"4 of 4 files are missing; .*2011_09_26_drive_0001_sync"):
        KITTIData(root).source("train")


def test_folders_without_annotations(tmp_path):
    root = layouts.kitti(tmp_path)
    for path in (root / "train").rglob("groundtruth"):
        path.rename(path.with_name("other"))
    with pytest.raises(DataError, match=r"no annotated depth in .*train'. Expected: "):
        KITTIData(root).source("train")
