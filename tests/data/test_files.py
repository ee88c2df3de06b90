import pickle
from contextlib import nullcontext

import layouts
import pytest
import torch

from anyteacher.data.files import (
    FileSource,
    Paths,
    Relabel,
    lines_of,
    names_in,
    need_folder,
    partners,
    same_labels,
)
from anyteacher.data.source import Part
from anyteacher.errors import DataError
from anyteacher.images import read_labels


def test_paths_are_a_sequence_in_one_block(tmp_path):
    names = ["a/b.png", "ä ö.png", "c.png"]
    paths = Paths(tmp_path, names)
    assert len(paths) == 3
    assert list(pickle.loads(pickle.dumps(paths))) == [tmp_path / name for name in names]


def test_names_are_sorted_and_hidden_ones_left_out(tmp_path):
    for name in ("b.png", "a/c.JPG", ".d.png", ".e/f.png", "g.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names_in(tmp_path) == ["a/c.JPG", "b.png"]
    assert names_in(tmp_path, ".txt") == ["g.txt"]
    with pytest.raises(DataError, match=r"no file \*.csv in"):
        names_in(tmp_path, ".csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no image in .*empty"):
        names_in(tmp_path / "empty")


def test_links_are_followed_but_not_in_circles(tmp_path):
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "1.png").touch()
    (tmp_path / "set" / "b").symlink_to(tmp_path / "set" / "a")
    assert names_in(tmp_path / "set") == ["a/1.png", "b/1.png"]
    (tmp_path / "set" / "a" / "up").symlink_to(tmp_path / "set")
    with pytest.raises(DataError, match=r"[ab]/up' is a link to a folder that leads to it"):
        names_in(tmp_path / "set")


def test_links_that_make_a_circle_together_are_refused(tmp_path):
    root = tmp_path / "set"
    for name in ("a", "c"):
        (root / name).mkdir(parents=True)
        (root / name / "1.png").touch()
    (root / "a" / "b").symlink_to(root / "c")
    assert names_in(root) == ["a/1.png", "a/b/1.png", "c/1.png"]
    (root / "c" / "d").symlink_to(root / "a")
    with pytest.raises(DataError, match=r"'.*set/(a/b/d|c/d/b)' is a link .* leads to it"):
        names_in(root)
    (root / "c" / "d").unlink()
    # One that leads out of the set is seen before all that lies there is walked.
    (root / "c" / "out").symlink_to(tmp_path)
    with pytest.raises(DataError, match=r"'.*set/(a/b|c)/out' is a link .* leads to it"):
        names_in(root)


def test_partners_differ_in_their_ending_alone(tmp_path):
    for name in ("1.png", "d/2.bmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(partners(["1.jpg", "d/2.jpg"], tmp_path)) == [
        tmp_path / "1.png",
        tmp_path / "d" / "2.bmp",
    ]
    with pytest.raises(DataError, match=r"None of 1 images has .* the first is 3.jpg, and .*1.png"):
        partners(["3.jpg"], tmp_path)
    (tmp_path / "1.bmp").touch()
    with pytest.raises(DataError, match=r"holds both 1.* Which one is meant"):
        partners(["1.jpg"], tmp_path)
    (tmp_path / "1.bmp").unlink()
    with pytest.raises(DataError, match=r"Both d/2.jpg and d/2.png would belong to .*d/2.bmp"):
        partners(["1.jpg", "d/2.jpg", "d/2.png"], tmp_path)


def test_partners_that_are_missing_are_refused_with_all_that_is(tmp_path):
    for name in ("1.png", "2.bmp", "3.png"):
        (tmp_path / name).touch()
    theirs = partners(["1.jpg", "4.jpg"], tmp_path)
    assert theirs[1] == tmp_path / "4.png"
    with pytest.raises(DataError, match=r"1 of 2 files are missing; the first is '.*4.png'"):
        FileSource(theirs).check_exist()
    FileSource(partners(["1.jpg", "2.jpg"], tmp_path)).check_exist()


def test_what_was_found_is_not_looked_for_again(tmp_path):
    for found in (True, False):
        source = Part(FileSource(Paths(tmp_path, ["gone.png"], found=found)), [0])
        with nullcontext() if found else pytest.raises(DataError, match=r"missing.*gone.png"):
            source.check_exist()


def test_a_folder_and_a_list(tmp_path):
    assert need_folder(tmp_path, "x") == tmp_path
    with pytest.raises(
        DataError, match=r"no folder .*no'. Give the root of a data set with a and b"
    ):
        need_folder(tmp_path / "no", "a and b")
    (tmp_path / "list").write_text("one\r\n\n two \n")
    assert lines_of(tmp_path / "list") == ["one", "two"]
    with pytest.raises(DataError, match="Cannot read the list"):
        lines_of(tmp_path / "none")


def test_labels_are_numbered_anew(tmp_path):
    path = layouts.save(tmp_path / "m.png", layouts.halves(3, 9))
    assert Relabel({3: 0, 9: 255}, "mine")(path).unique().tolist() == [0, 255]
    with pytest.raises(DataError, match=r"m.png holds the label 9, which mine does not have"):
        Relabel({3: 0}, "mine")(path)
    with pytest.raises(DataError, match="holds the labels 3, 9"):
        Relabel({}, "mine")(path)
    assert same_labels(3, 1) == {1: 255, 0: 0, 2: 2}


def test_a_sample_is_read_from_all_of_its_files(tmp_path):
    image = layouts.save(tmp_path / "i.png", layouts.picture(1))
    mask = layouts.save(tmp_path / "m.png", layouts.halves(0, 1))
    source = FileSource(
        [image], {"segmentation": ([mask], read_labels)}, values={"label": torch.tensor([4])}
    )
    sample = source.read(0)
    assert set(sample) == {"image", "segmentation", "label"}
    assert source.name(0) == f"{image} and {mask}"
    source.check_exist()
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(DataError, match=r"i.png"):
        source.read(0)
    mask.unlink()
    with pytest.raises(DataError, match=r"1 of 1 files are missing; the first is .*m.png"):
        source.check_exist()
