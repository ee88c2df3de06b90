import io
import sys

import layouts
import numpy as np
import pytest
from rich.console import Console
from torch import nn

from anyteacher import cli
from anyteacher.check import check
from anyteacher.data import FoldersData
from anyteacher.errors import DataError


def run(data):
    out = io.StringIO()
    return check(data, Console(file=out, width=200)), out.getvalue()


def test_a_whole_data_set_in_a_table(tmp_path):
    data = FoldersData(
        layouts.folders(tmp_path), classes=5, ignore=200, max_depth=10.0, depth_scale=1000,
        num_workers=0,
    )  # fmt: skip
    good, text = run(data)
    assert good
    lines = [line.split() for line in text.splitlines()]
    assert ["samples", "3", "2"] in lines
    assert "segmentation: classes" in text
    assert "2, from 0 to 4" in text
    assert "3: 1, 2, 3" in text  # absent classes
    assert "1.00 m to 3.00 m" in text
    assert "8.3%" in text
    assert "91.7%" in text


def test_broken_files_are_named_up_to_a_number(tmp_path):
    root = layouts.folders(tmp_path)
    for i in range(3):
        (root / "train" / "images" / "walk" / f"{i}.jpg").write_bytes(b"no image")
    good, text = run(FoldersData(root, classes=5, ignore=200, num_workers=0))
    assert not good
    assert text.count("broken: Cannot read") == 3
    assert "walk/2.jpg" in text
    out = io.StringIO()
    data = FoldersData(root, classes=5, ignore=200, num_workers=0)
    assert not check(data, Console(file=out, width=200), shown=1)
    assert out.getvalue().count("broken: Cannot read") == 1
    assert "… and 2 more: --shown 3 names all." in out.getvalue()


def test_missing_files_are_named_with_all_that_is_broken(tmp_path):
    root = layouts.folders(tmp_path)
    (root / "train" / "masks" / "walk" / "1.png").unlink()
    (root / "val" / "images" / "walk" / "0.jpg").write_bytes(b"no image")
    data = FoldersData(root, classes=5, ignore=200, num_workers=0)
    good, text = run(data)
    assert not good
    assert text.count("broken: Cannot read") == 2
    assert "masks/walk/1.png" in text
    assert "images/walk/0.jpg" in text
    with pytest.raises(DataError, match=r"1 of 3 files are missing; .*masks/walk/1.png"):
        data.setup("fit")


def test_depth_that_is_wholly_unknown_fails(tmp_path):
    root = layouts.folders(tmp_path)
    data = FoldersData(root, max_depth=10.0, depth_scale=1, num_workers=0)  # of millimetres
    good, text = run(data)
    assert not good
    for part in ("train", "val"):
        assert f"{part}: no image has a depth up to 10 m. Look at the units of the data" in text
    assert "unknown:" not in text
    assert "1000.00 m to 3000.00 m" in text


@pytest.mark.parametrize("kind", ["depth", "masks", "normals"])
def test_files_without_a_known_pixel_are_named_and_no_reason_to_stop(tmp_path, kind):
    root = layouts.folders(tmp_path)
    blank = {
        "depth": layouts.halves(0, 0, np.uint16),
        "masks": layouts.halves(200, 200),
        "normals": 0 * layouts.picture(0),
    }
    layouts.save(root / "train" / kind / "walk" / "1.png", blank[kind])
    data = FoldersData(
        root, classes=5, ignore=200, max_depth=10.0, depth_scale=1000, normals=True, num_workers=0
    )
    good, text = run(data)
    assert good
    key = "segmentation" if kind == "masks" else kind
    assert text.count("unknown: ") == 1
    assert f"unknown: no pixel of {key} is known in {root}/train/images/walk/1.jpg and" in text
    for i in range(3):
        layouts.save(root / "train" / kind / "walk" / f"{i}.png", blank[kind])
    good, text = run(data)
    assert not good
    assert text.count("train: no ") == 1


def test_classes_of_masks_that_training_never_shows_are_told(tmp_path):
    root = layouts.folders(tmp_path)
    for path in root.glob("*/masks/walk/*.png"):
        layouts.save(path, layouts.halves(0, 255))
    good, text = run(FoldersData(root, classes=2, num_workers=0))
    assert good
    assert (
        "train: 1 of 2 classes of segmentation are never shown: 1. Of masks of 0 and 255 the 255 "
        "is to be written as 1." in text
    )
    for path in root.glob("*/masks/walk/*.png"):
        layouts.save(path, layouts.halves(0, 1))
    assert "never shown" not in run(FoldersData(root, classes=2, num_workers=0))[1]


def test_depth_beyond_what_is_used_and_normals_are_told(tmp_path):
    data = FoldersData(
        layouts.folders(tmp_path), max_depth=2.0, depth_scale=1000, normals=True, num_workers=0
    )
    good, text = run(data)
    assert good
    assert "1.00 m to 3.00 m" in text
    assert "depth: pixels that are known, to 2 m" in text
    assert "45.8%" in text
    assert "normals: pixels that are known" in text
    assert "91.7%" in text
    assert "normals: of these facing the camera" in text


CONFIG = """
task: {{class_path: Segmentation, init_args: {{classes: {classes}}}}}
student: {{class_path: anyteacher.models.EncoderDecoder, init_args: {{out_channels: {classes}}}}}
data:
  class_path: FoldersData
  init_args: {{root: {root}, classes: 5, ignore: 200, num_workers: 0}}
"""


def test_the_command(tmp_path, capsys):
    root = layouts.folders(tmp_path / "data")
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG.format(root=root, classes=5))
    assert cli.main(["data", "check", str(config)]) == 0
    assert "What the data set holds" in capsys.readouterr().out
    (root / "val" / "masks" / "walk" / "0.png").write_bytes(b"")
    assert cli.main(["data", "check", str(config)]) == 1
    assert "walk/0.png" in capsys.readouterr().out
    config.write_text(CONFIG.format(root=root, classes=7))
    assert cli.main(["data", "check", str(config)]) == 2
    assert "set to 7 classes, and the data has 5" in capsys.readouterr().err
    assert cli.main(["data", "chek", str(config)]) == 2
    assert "Nothing is called 'chek'" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [0, 1])
def test_a_scale_that_is_not_set_is_asked_for_once(tmp_path, capsys, workers):
    config = tmp_path / "c.yaml"
    config.write_text(
        "task: {class_path: Depth, init_args: {max_depth: 10.0}}\n"
        "student: {class_path: anyteacher.models.EncoderDecoder, init_args: {out_channels: 1}}\n"
        "data: {class_path: FoldersData, init_args: "
        f"{{root: {layouts.folders(tmp_path / 'data')}, max_depth: 10.0, num_workers: {workers}}}}}"
    )
    assert cli.main(["data", "check", str(config)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.endswith("Set depth_scale: 1000 for millimetres, 256 for KITTI's files.")
    assert cli.main(["data", "check", str(config), "--data.depth_scale=1000"]) == 0


class Pretrained(nn.Module):
    """Finds no network."""

    def __init__(self) -> None:
        raise ConnectionError("No route to the hub.")


def test_no_model_is_made_to_look_at_data(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "net", sys.modules[__name__])
    root = layouts.folders(tmp_path / "data")
    config = tmp_path / "c.yaml"
    text = CONFIG.format(root=root, classes=5)
    config.write_text(text.replace(text.splitlines()[2], "student: net.Pretrained"))
    assert cli.main(["data", "check", str(config), "--shown=1"]) == 0, capsys.readouterr().err


def test_a_mismatch_is_refused_before_training(tmp_path, capsys):
    root = layouts.folders(tmp_path / "data")
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG.format(root=root, classes=7))
    assert cli.main(["fit", f"--config={config}", f"--output={tmp_path / 'run'}"]) == 2
    assert "Set the task's classes, and the student's output, to 5" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_broken_file_in_a_worker_is_told_in_one_line(tmp_path, capsys):
    root = layouts.folders(tmp_path / "data")
    (root / "val" / "masks" / "walk" / "0.png").write_bytes(b"")
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG.format(root=root, classes=5).replace("workers: 0", "workers: 1"))
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
    assert cli.main(["fit", f"--config={config}", f"--output={tmp_path / 'run'}", *quiet]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("anyteacher fit: Cannot read ")
    assert "walk/0.png" in line
