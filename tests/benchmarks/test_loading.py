"""The pictures are what they are said to be, and the table is whole. Never how fast anything is."""

from benchmarks.timing import Settings

from anyteacher.images import read_image
from benchmarks import loading


def test_pictures_are_photographs_in_size(tmp_path):
    size = loading.write_pictures(tmp_path, 8)
    paths = sorted(tmp_path.rglob("*.JPEG"))
    assert len(paths) == 8 + loading.CLASSES
    assert {tuple(read_image(path).shape) for path in paths} == {(3, 375, 500)}
    assert 50_000 < size < 200_000
    data = loading.made(tmp_path, 0)
    data.setup("fit")
    assert len(data.train) == 8
    assert data.train[0]["image"].shape == (3, 224, 224)


def test_the_table_is_whole(monkeypatch):
    monkeypatch.setattr(loading, "alone", lambda root, workers: 100.0 + workers)
    monkeypatch.setattr(loading, "waiting", lambda root, workers, folder: 0.25)
    (table,) = loading.measure(Settings(seconds=0.0), ["loading"])
    assert [row[:2] for row in table.rows] == [[0, "100"], [1, "101"], [2, "102"]]
    assert {row[2] for row in table.rows} == {"25.0 %"}
