"""Rooms on disk: what is written is read, and a file is whole or is refused."""

import random
import threading

import numpy as np
import pytest
import torch

from anyteacher.data.rooms import EXTRA_TARGETS, TARGETS, RoomsDataset, store
from anyteacher.data.rooms.render import render
from anyteacher.errors import DataError


@pytest.fixture(autouse=True)
def no_progress(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")


def scenes(start, end):
    """Values by which each scene is known."""
    numbers = np.arange(start, end, dtype=np.float16)
    return {
        "depth": np.broadcast_to(numbers[:, None, None, None], (end - start, 1, 2, 3)),
        "count": np.broadcast_to(numbers[:, None].astype(np.uint8), (end - start, 4)),
    }


def write(folder, length=10, make=scenes, step=4):
    store.write(folder, ["depth", "count"], length, make, step=step, title="Rendering")


def files(folder):
    return sorted(path.name for path in folder.rglob("*"))


def whole(folder, length=10):
    """Whether both files hold the scenes, and nothing else is there."""
    expected = scenes(0, length)
    return files(folder) == ["count.npy", "depth.npy"] and all(
        np.array_equal(store.read(folder / f"{name}.npy", length), expected[name])
        for name in expected
    )


def test_default_cache_is_in_the_home_folder_unless_told(monkeypatch, tmp_path):
    monkeypatch.setenv("ANYTEACHER_CACHE", str(tmp_path))
    assert store.default_cache() == tmp_path
    for unset in (lambda: monkeypatch.setenv("ANYTEACHER_CACHE", ""), monkeypatch.undo):
        unset()
        monkeypatch.delenv("ANYTEACHER_CACHE", raising=False)
        assert store.default_cache().parts[-2:] == (".cache", "anyteacher")


def test_the_hash_follows_the_source(tmp_path, monkeypatch):
    before = store.generator_hash()
    for name in store._SOURCES:
        source = store.Path(store.__file__).with_name(f"{name}.py").read_text()
        (tmp_path / f"{name}.py").write_text(source)
    (tmp_path / "shade.py").write_text("darker = True\n")
    monkeypatch.setattr(store, "__file__", str(tmp_path / "store.py"))
    assert store.generator_hash.__wrapped__() != before


@pytest.mark.parametrize("target", ["image", *TARGETS, *EXTRA_TARGETS])
def test_values_come_back_as_they_were_to_the_rounding(target):
    exact = render(torch.arange(3), 8, 12, targets=[target])[target]
    array = store.pack(target, exact)
    assert array.dtype == (np.float16 if target in ("depth", "normals") else np.uint8)
    values = store.unpack(target, array)
    assert (values.dtype, values.shape) == (exact.dtype, exact.shape)
    rounding = {"image": 0.5001 / 255, "relit": 0.5001 / 255, "depth": 0.004, "normals": 5e-4}
    assert (values - exact).abs().max() <= rounding.get(target, 0)
    assert np.array_equal(store.pack(target, values), array)  # once rounded, it stays


def test_zero_and_one_are_kept_exactly():
    ends = torch.tensor([0.0, 1.0])
    assert store.unpack("image", store.pack("image", ends)).tolist() == [0, 1]


@pytest.mark.parametrize("step", [1, 4, 10, 99])
def test_what_was_written_in_any_steps_is_read(tmp_path, step):
    write(tmp_path / "new" / "folder", step=step)
    folder = tmp_path / "new" / "folder"
    assert whole(folder)
    array = store.read(folder / "depth.npy", 10)
    assert isinstance(array, np.memmap)
    assert not array.flags.writeable
    assert np.array_equal(np.load(folder / "depth.npy"), array)  # anyone can read it


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, RuntimeError])
def test_a_generation_cut_short_leaves_what_was_there(tmp_path, error):
    def fail(start, end):
        if start > 0:
            assert len(files(tmp_path)) == 2 + before  # both are being written
            assert all(name.startswith(".") for name in set(files(tmp_path)) - old)
            raise error("no more")
        return scenes(start, end)

    before, old = 0, set()
    with pytest.raises(error, match="no more"):
        write(tmp_path, make=fail)
    assert files(tmp_path) == []
    write(tmp_path)
    before, old = 2, set(files(tmp_path))
    with pytest.raises(error, match="no more"):
        write(tmp_path, make=fail)
    assert whole(tmp_path)


def test_a_second_writer_of_the_same_process_number_does_no_harm(tmp_path):
    """Containers that share a cache have the same numbers; so have threads."""

    def interrupted(start, end):
        if start == 4:
            write(tmp_path)
            assert all(len(store.read(tmp_path / f"{n}.npy", 10)) == 10 for n in ("depth", "count"))
        elif start > 4:  # while the first goes on, what the second made stays whole
            assert np.array_equal(store.read(tmp_path / "depth.npy", 10), scenes(0, 10)["depth"])
        return scenes(start, end)

    write(tmp_path, make=interrupted, step=2)
    assert whole(tmp_path)


def test_writers_at_once_never_show_half_a_file(tmp_path):
    barrier, problems = threading.Barrier(3), []

    def writer():
        try:
            barrier.wait(timeout=30)
            for _ in range(5):
                write(tmp_path, step=1)
                assert np.array_equal(
                    store.read(tmp_path / "depth.npy", 10), scenes(0, 10)["depth"]
                )
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=writer) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not problems
    assert whole(tmp_path)


def test_a_part_left_by_a_killed_process_is_not_read(tmp_path):
    data = RoomsDataset("val", 3, (8, 8), targets=["depth"], cache=tmp_path)
    path = data.folder / "depth.npy"
    path.with_name(".depth.0123456789abcdef.npy").write_bytes(path.read_bytes()[:300])
    path.unlink()
    again = RoomsDataset("val", 3, (8, 8), targets=["depth"], cache=tmp_path)
    assert torch.equal(again[2]["depth"], RoomsDataset("val", 3, (8, 8))[2]["depth"])


def saved(array):
    def save(path):
        np.save(path, array)

    return save


DEPTH = np.zeros((10, 1, 2, 3), np.float16)
DAMAGES = {
    "nothing": (lambda path: path.write_bytes(b""), ""),
    "zeros": (lambda path: path.write_bytes(bytes(path.stat().st_size)), ""),
    "no header": (lambda path: path.write_bytes(path.read_bytes()[128:]), ""),
    "half a header": (lambda path: path.write_bytes(path.read_bytes()[:50]), ""),
    "half a scene less": (lambda path: path.write_bytes(path.read_bytes()[:-6]), ""),
    "something more": (
        lambda path: path.write_bytes(path.read_bytes() + b"more"),
        "it has 252 bytes instead of 248",
    ),
    "fewer scenes": (saved(DEPTH[:9]), "it holds 9 scenes instead of 10"),
    "more scenes": (saved(np.concatenate([DEPTH, DEPTH])), "it holds 20 scenes instead of 10"),
    "one number": (saved(np.array(10)), "it holds 0 scenes instead of 10"),
    "objects": (saved(np.array([None] * 10, dtype=object)), ""),
    "an archive": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)), ""),
    "a pickle": (lambda path: path.write_bytes(b"\x80\x04N."), ""),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), ""),
    "no file": (lambda path: path.unlink(), ""),
}


@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header")
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_refused_by_name(tmp_path, name):
    damage, problem = DAMAGES[name]
    write(tmp_path)
    path = tmp_path / "depth.npy"
    damage(path)
    with pytest.raises(DataError) as raised:
        store.read(path, 10)
    message = str(raised.value)
    assert message.startswith(f"The cached file {path} is damaged ({problem}")
    assert message.endswith("). Delete it: it will be generated again.")


@pytest.mark.filterwarnings("ignore")  # of numpy and of Python, about headers that are nonsense
def test_any_damage_of_the_header_is_refused_or_harmless(tmp_path):
    write(tmp_path)
    path = tmp_path / "depth.npy"
    good, rng, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(300):
        place = rng.randrange(128)
        path.write_bytes(good[:place] + bytes([rng.randrange(256)]) + good[place + 1 :])
        try:
            array = store.read(path, 10)
        except DataError:
            refused += 1
        else:  # of the right size, whatever the header now calls its type and order
            assert array.nbytes == 10 * 2 * 6
    assert refused > 100
