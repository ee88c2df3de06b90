import layouts
import pytest

from anyteacher.data import ImageNetData
from anyteacher.errors import ConfigError, DataError


def labels(source):
    return [int(source.read(place)["label"]) for place in range(len(source))]


def test_folders_are_classes_in_the_order_of_their_names(tmp_path):
    data = ImageNetData(layouts.imagenet(tmp_path), classes=3)
    assert labels(data.source("train")) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert labels(data.source("val")) == labels(data.source("test")) == [0, 0, 1, 1, 2, 2]
    (tmp_path / "test").mkdir()
    (tmp_path / "train" / layouts.WNIDS[1]).rename(tmp_path / "test" / layouts.WNIDS[1])
    (tmp_path / "train" / layouts.WNIDS[1]).mkdir()
    assert labels(data.source("test")) == [1, 1, 1]


def test_the_devkit_numbers_the_validation_images(tmp_path):
    data = ImageNetData(layouts.imagenet_devkit(tmp_path), classes=3)
    found = data.source("val")
    assert sorted(labels(found)) != labels(found)  # its numbers are not those of the folders
    for place in range(len(found)):  # what is pictured tells the class
        blue = int(found.read(place)["image"][2].float().mean().round())
        assert abs(blue - 20 * labels(found)[place]) < 6


def test_other_numbers_of_classes(tmp_path):
    with pytest.raises(ConfigError, match=r"has 3 classes, and the data is set to 1000. Set the"):
        ImageNetData(layouts.imagenet(tmp_path)).source("train")


def test_an_image_of_no_class_is_named(tmp_path):
    root = layouts.imagenet(tmp_path)
    layouts.save(root / "val" / "n0" / "odd.JPEG", layouts.picture(0))
    with pytest.raises(DataError, match=r"n0/odd.JPEG' lies in the folder of no class"):
        ImageNetData(root, classes=3).source("val")


def test_the_number_in_a_name_is_that_of_the_devkits_line(tmp_path):
    root = layouts.imagenet_devkit(tmp_path)
    (root / "val" / "stray").mkdir()  # an empty folder changes nothing
    data = ImageNetData(root, classes=3)
    before = labels(data.source("val"))
    val = root / "val"
    (val / "ILSVRC2012_val_00000001.JPEG").rename(val / "Z_ILSVRC2012_val_00000001.JPEG")
    assert labels(data.source("val")) == [*before[1:], before[0]]
    (val / "Z_ILSVRC2012_val_00000001.JPEG").rename(val / "ILSVRC2012_val_00000009.JPEG")
    with pytest.raises(DataError, match=r"val_00000009.JPEG' has no number from 1 to 4"):
        data.source("val")


def test_a_missing_devkit_is_asked_for(tmp_path):
    root = layouts.imagenet_devkit(tmp_path)
    (root / "ILSVRC2012_devkit_t12").rename(root / "other")
    with pytest.raises(DataError, match=r"no folder '.*ILSVRC2012_devkit_t12/data'"):
        ImageNetData(root, classes=3).source("val")


def test_a_devkit_that_does_not_fit(tmp_path):
    root = layouts.imagenet_devkit(tmp_path)
    truth = next(root.rglob("ILSVRC2012_validation_ground_truth.txt"))
    lines = truth.read_text().split()
    truth.write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match=r"holds \d images, and the devkit classes of \d"):
        ImageNetData(root, classes=3).source("val")
    truth.write_text("\n".join(["77", *lines[1:]]))
    with pytest.raises(DataError, match="gives an image the class 77, of which there is no folder"):
        ImageNetData(root, classes=3).source("val")
    (root / "ILSVRC2012_devkit_t12/data/meta.mat").write_bytes(b"MATLAB")
    with pytest.raises(DataError, match=r"Cannot read the classes from .*meta.mat"):
        ImageNetData(root, classes=3).source("val")
