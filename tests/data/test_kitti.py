import layouts
import numpy as np
import pytest
import torch

from anyteacher.data import KITTIData
from anyteacher.data.kitti import window
from anyteacher.errors import DataError
from anyteacher.tasks import Depth


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
        KITTIData(root).dataset("train")


def test_folders_without_annotations(tmp_path):
    root = layouts.kitti(tmp_path)
    for path in (root / "train").rglob("groundtruth"):
        path.rename(path.with_name("other"))
    with pytest.raises(DataError, match=r"no annotated depth in .*train'. Expected: "):
        KITTIData(root).source("train")


# Height and width of pictures, and the rows and columns that papers measure of them.
GARG = {
    "2011_09_26": ((375, 1242), (153, 371, 44, 1197)),
    "2011_10_03": ((376, 1241), (153, 372, 44, 1196)),
}


def recorded(root, day):
    """One picture of a day's size for validation, and the same one as it was selected."""
    size, _ = GARG[day]
    picture = layouts.picture(1, *size)
    depth = np.random.default_rng(0).integers(256, 256 * 79, size).astype(np.uint16)
    drive, file = f"{day}_drive_0002_sync", "0000000005.png"
    layouts.save(root / "val" / drive / "proj_depth/groundtruth/image_02" / file, depth)
    layouts.save(root / day / drive / "image_02/data" / file, picture)
    top, left = window(*size)
    seen = np.s_[top : top + 352, left : left + 1216]
    base = root / "depth_selection/val_selection_cropped"
    stem = f"{drive}_{{}}_0000000005_image_02.png"
    layouts.save(base / "image" / stem.format("image"), picture[seen])
    layouts.save(base / "groundtruth_depth" / stem.format("groundtruth_depth"), depth[seen])
    return depth / 256


@pytest.mark.parametrize("day", GARG)
@pytest.mark.parametrize("split", ["val", "test"])
def test_the_crop_of_garg_is_that_of_the_whole_picture(tmp_path, day, split):
    """As published figures are made: counted by hand in the file's own rows and columns."""
    depth = recorded(tmp_path, day)
    data = KITTIData(tmp_path, num_workers=0, batch_size=1)
    data.setup("validate")
    data.setup("test")
    batch = next(iter(data.val_dataloader() if split == "val" else data.test_dataloader()))
    (top, bottom, left, right), task = GARG[day][1], Depth(max_depth=80.0, protocol="kitti")
    above, before = window(*GARG[day][0])
    expected = depth[above : above + 352, before : before + 1216]
    assert torch.equal(batch["depth"][0, 0], torch.from_numpy(expected).float())  # not resized
    metrics = task.metrics()
    task.update(metrics, torch.full((1, 1, 352, 1216), np.log(40.0)), batch)
    truth = depth[top:bottom, left:right]
    error = abs(40 - truth) / truth
    assert float(metrics.compute()["abs_rel"]) == pytest.approx(error.mean(), rel=1e-5)


def test_a_training_view_is_cut_out_of_what_is_seen(tmp_path):
    recorded(tmp_path, "2011_09_26")
    (tmp_path / "val").rename(tmp_path / "train")
    data = KITTIData(tmp_path, augmentation=None)
    sample = data.source("train").read(0)
    assert sample["image"].shape == (3, 352, 1216)
    assert sample["extent"].tolist() == [-23, -13, 375, 1242]
