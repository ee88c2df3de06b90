import layouts
import numpy as np
import pytest
import torch

from anyteacher.data import NYUv2Data, NYUv2FoldersData
from anyteacher.errors import DataError


def test_the_labelled_file_is_turned_upright(tmp_path):
    data = NYUv2Data(layouts.nyu(tmp_path))
    train, test = data.source("train"), data.source("test")
    assert [len(train), len(test), len(data.source("val"))] == [3, 2, 2]
    sample = train.read(2)  # MATLAB's fifth
    assert torch.equal(sample["image"], torch.from_numpy(layouts.picture(4)).permute(2, 0, 1))
    depth = sample["depth"]
    assert (depth[0, 0] == 11).all()
    assert depth[0, 1:].unique().tolist() == [2, 9]
    assert (depth[0, 1:, :8] == 2).all()
    assert sample["segmentation"].unique().tolist() == [2, 39, 255]
    assert train.name(2).endswith("picture 5")
    assert data.facts().classes == {"segmentation": 40}


def test_without_the_table_there_are_no_classes(tmp_path):
    data = NYUv2Data(layouts.nyu(tmp_path, classes=False), max_depth=5.0)
    assert data.facts().targets == ("depth",)
    sample = data.source("train").read(0)
    assert set(sample) == {"image", "depth"}
    data.setup("fit")
    assert data.train[0]["depth"].max() <= 5


@pytest.mark.parametrize("name", ["nyu_depth_v2_labeled.mat", "splits.mat"])
@pytest.mark.parametrize("how", ["missing", "truncated"])
def test_a_missing_or_truncated_file_is_named(tmp_path, name, how):
    path = layouts.nyu(tmp_path) / name
    content = path.read_bytes()
    path.unlink()
    if how == "truncated":
        path.write_bytes(content[: len(content) // 3])
    with pytest.raises(DataError, match=f"Cannot read .*{name}"):
        NYUv2Data(tmp_path).source("train").read(0)


def test_more_pictures_are_asked_for_than_there_are(tmp_path):
    import scipy.io

    layouts.nyu(tmp_path)
    for number in (9, 0):
        asked = {"trainNdxs": [[number], [1]], "testNdxs": [[1]]}
        scipy.io.savemat(tmp_path / "splits.mat", asked)
        with pytest.raises(DataError, match=rf"holds 5 pictures, .* asks for number {number}\."):
            NYUv2Data(tmp_path).source("train")


def test_a_label_beyond_the_table(tmp_path):
    import scipy.io

    layouts.nyu(tmp_path)
    scipy.io.savemat(tmp_path / "classMapping40.mat", {"mapClass": np.ones((1, 5))})
    with pytest.raises(DataError, match=r"picture 1 holds the label 894, and .* ends at 5"):
        NYUv2Data(tmp_path).source("train").read(0)


def test_a_table_of_other_classes_is_refused(tmp_path):
    import scipy.io

    layouts.nyu(tmp_path)
    mapped = np.full((1, 894), 40)
    mapped[0, :2] = 0, 41
    scipy.io.savemat(tmp_path / "classMapping40.mat", {"mapClass": mapped})
    with pytest.raises(DataError, match=r"classMapping40.mat' gathers labels to \[41\].* 1 to 40"):
        NYUv2Data(tmp_path).source("train")
    mapped[0, 1] = 1
    scipy.io.savemat(tmp_path / "classMapping40.mat", {"mapClass": mapped})
    labels = NYUv2Data(tmp_path).source("train").read(0)["segmentation"]
    assert labels.unique().tolist() == [39, 255]  # the first of its labels is of no class


def test_a_split_without_pictures_and_a_file_of_fewer_depths(tmp_path):
    import h5py
    import scipy.io

    layouts.nyu(tmp_path)
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "r+") as file:
        depths = file["depths"][:4]
        del file["depths"]
        file["depths"] = depths
    with pytest.raises(DataError, match=r"other numbers of each kind .*'images': 5, 'depths': 4"):
        NYUv2Data(tmp_path).source("train")
    scipy.io.savemat(tmp_path / "splits.mat", {"trainNdxs": np.zeros((0, 1)), "testNdxs": [[1]]})
    with pytest.raises(DataError, match=r"'splits.mat' lists no pictures of"):
        NYUv2Data(tmp_path).source("train")


def test_the_folders_of_the_common_split(tmp_path):
    data = NYUv2FoldersData(layouts.nyu_folders(tmp_path))
    assert [len(data.source(split)) for split in ("train", "val", "test")] == [3, 2, 2]
    train, test = (data.source(split).read(0)["depth"] for split in ("train", "test"))
    assert train[0, 1:].unique().tolist() == pytest.approx([2, 10], abs=1e-5)
    assert test[0, 1:].unique().tolist() == [2, 10]
    assert (train[0, 0] == 0).all()
    assert (test[0, 0] == 0).all()


def test_a_list_that_is_none_or_names_what_is_not_there(tmp_path):
    root = layouts.nyu_folders(tmp_path)
    path = root / "data" / "nyu2_train.csv"
    path.write_text("a.jpg,b.png\n")
    with pytest.raises(DataError, match=r"1 of 1 files are missing; the first is .*a.jpg"):
        NYUv2FoldersData(root).dataset("train")
    path.write_text("a.jpg\n")
    with pytest.raises(DataError, match=r"lists pairs of image and depth, and has a.jpg"):
        NYUv2FoldersData(root).source("train")
    path.write_text("\n")
    with pytest.raises(DataError, match="is empty"):
        NYUv2FoldersData(root).source("train")
