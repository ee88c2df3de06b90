import multiprocessing
import pickle

import pytest
import torch
from torch.utils.data import DataLoader

from anyteacher.data import Place, RoomsData, RoomsDataset
from anyteacher.data.rooms import (
    CLASSES,
    KINDS,
    SPLITS,
    TARGETS,
    dataset,
    render,
    scene_seeds,
    store,
)
from anyteacher.errors import ConfigError, DataError

SIZE = (16, 24)


@pytest.fixture(autouse=True)
def no_progress(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def stacked(data):
    return data.__getitems__(list(range(len(data)))).batch


def test_splits_and_seeds_share_no_scene():
    indices = torch.tensor([0, 1, 12345, (1 << 32) - 1])
    seeds = [
        s
        for split in SPLITS
        for seed in (0, 1, 7)
        for s in scene_seeds(split, indices, seed).tolist()
    ]
    assert len(set(seeds)) == 3 * 3 * 4


def test_every_target_has_the_type_and_shape_of_the_batch():
    sample = RoomsDataset("train", 2, SIZE)[0]
    shapes = {key: (tuple(value.shape), value.dtype) for key, value in sample.items()}
    f, i = torch.float32, torch.int64
    assert shapes == {
        "image": ((3, 16, 24), f),
        "depth": ((1, 16, 24), f),
        "segmentation": ((16, 24), i),
        "normals": ((3, 16, 24), f),
        "edges": ((1, 16, 24), f),
        "relit": ((3, 16, 24), f),
        "presence": ((4,), f),
        "count": ((4,), i),
        "index": ((), i),
    }


def test_each_scene_has_its_index():
    data = RoomsDataset("train", 5, SIZE, targets=["depth"])
    assert data[3]["index"] == 3
    assert data.__getitems__([4, 0]).batch["index"].tolist() == [4, 0]


def test_rounding_is_small():
    exact = render(scene_seeds("val", torch.arange(3), 5), *SIZE)
    rounded = stacked(RoomsDataset("val", 3, SIZE, seed=5))
    for key, value in exact.items():
        if not value.is_floating_point():
            assert torch.equal(value, rounded[key])
    assert (exact["image"] - rounded["image"]).abs().max() < 0.5001 / 255
    assert (exact["relit"] - rounded["relit"]).abs().max() < 0.5001 / 255
    assert (rounded["depth"] / exact["depth"] - 1).abs().max() < 5e-4
    assert (exact["normals"] - rounded["normals"]).abs().max() < 5e-4
    assert torch.equal(exact["edges"], rounded["edges"])


def test_cache_and_on_the_fly_give_the_same(tmp_path):
    fly = RoomsDataset("train", 9, SIZE, seed=2)
    cached = RoomsDataset("train", 9, SIZE, seed=2, cache=tmp_path)
    assert equal(stacked(fly), stacked(cached))
    assert equal(fly[7], cached[7])
    assert equal(cached[3], cached.__getitems__([5, 3])[1])


def test_a_full_cache_is_only_read(tmp_path, monkeypatch):
    first = stacked(RoomsDataset("val", 4, SIZE, cache=tmp_path))
    monkeypatch.setattr(dataset, "render", None)
    again = RoomsDataset("val", 4, SIZE, cache=tmp_path)
    assert equal(first, stacked(again))
    assert {p.name for p in again.folder.iterdir()} == {f"{t}.npy" for t in ("image", *TARGETS)}


def test_further_targets_join_the_same_folder(tmp_path):
    small = RoomsDataset("val", 3, SIZE, targets=["depth"], cache=tmp_path)
    image = small.folder / "image.npy"
    written = image.stat().st_mtime_ns
    both = RoomsDataset("val", 3, SIZE, targets=["depth", "normals"], cache=tmp_path)
    assert both.folder == small.folder
    assert image.stat().st_mtime_ns == written
    assert equal(stacked(both), stacked(RoomsDataset("val", 3, SIZE, targets=["depth", "normals"])))


def test_another_generator_or_setting_has_another_folder(tmp_path, monkeypatch):
    def folder(*args, **kwargs):
        return RoomsDataset(*args, targets=["depth"], cache=tmp_path, **kwargs).folder

    folders = {
        folder("val", 2, SIZE),
        folder("val", 3, SIZE),
        folder("train", 2, SIZE),
        folder("val", 2, (16, 16)),
        folder("val", 2, SIZE, seed=1),
    }
    monkeypatch.setattr(store, "generator_hash", lambda: "another")
    folders.add(folder("val", 2, SIZE))
    assert len(folders) == 6


@pytest.mark.parametrize("left", [0, 20, 2000])
def test_a_truncated_cache_is_named(tmp_path, left):
    data = RoomsDataset("val", 4, SIZE, targets=["depth"], cache=tmp_path)
    path = data.folder / "depth.npy"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(DataError, match=r"depth\.npy is damaged .* Delete it"):
        RoomsDataset("val", 4, SIZE, targets=["depth"], cache=tmp_path)


def test_an_interrupted_generation_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "render", fail)
        with pytest.raises(KeyboardInterrupt):
            RoomsDataset("val", 4, SIZE, cache=tmp_path)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    assert equal(
        stacked(RoomsDataset("val", 4, SIZE, cache=tmp_path)), stacked(RoomsDataset("val", 4, SIZE))
    )


def _generate(folder, barrier, queue):
    torch.set_num_threads(1)
    barrier.wait()
    data = RoomsDataset("train", 40, SIZE, targets=["depth"], cache=folder)
    queue.put({key: value.sum(dtype=torch.float64).item() for key, value in stacked(data).items()})


def test_two_processes_may_generate_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(2), context.Queue()
    jobs = [context.Process(target=_generate, args=(tmp_path, barrier, queue)) for _ in range(2)]
    for job in jobs:
        job.start()
    sums = [queue.get(timeout=60) for _ in jobs]
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0]
    expected = stacked(RoomsDataset("train", 40, SIZE, targets=["depth"]))
    assert (
        sums[0]
        == sums[1]
        == {key: value.sum(dtype=torch.float64).item() for key, value in expected.items()}
    )
    files = [p.name for p in tmp_path.rglob("*") if p.is_file()]
    assert sorted(files) == ["depth.npy", "image.npy"]


def test_pickles_without_its_contents(tmp_path):
    data = RoomsDataset("train", 20, SIZE, cache=tmp_path)
    message = pickle.dumps(data)
    assert len(message) < 2000
    assert equal(stacked(pickle.loads(message)), stacked(data))


@pytest.mark.parametrize("cached", [True, False])
def test_workers_give_the_same_batches(tmp_path, cached):
    cache = tmp_path if cached else None
    batches = {}
    for workers in (0, 2):
        data = RoomsData(
            train_size=12, val_size=3, test_size=3, size=SIZE, targets=["depth"], batch_size=4,
            num_workers=workers, cache=cached, cache_dir=cache,
        )  # fmt: skip
        data.prepare_data()
        data.setup("fit")
        batches[workers] = list(data.train_dataloader())
    assert len(batches[0]) == 3
    for a, b in zip(batches[0], batches[2], strict=True):
        assert equal(a, b)


def test_a_plain_loader_works_too():
    data = RoomsDataset("test", 5, SIZE, targets=["segmentation"])
    batches = list(DataLoader(data, batch_size=2))
    whole = {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}
    assert equal(whole, stacked(data))


def test_data_module_has_three_splits_of_their_own(tmp_path):
    data = RoomsData(
        train_size=5, val_size=4, test_size=3, size=SIZE, targets=["depth"], cache_dir=tmp_path
    )
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    assert (len(data.train), len(data.val), len(data.test)) == (5, 4, 3)
    images = [data.train[0]["image"], data.val[0]["image"], data.test[0]["image"]]
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(images[1], images[2])
    # Fewer images than a batch are one batch.
    assert [len(b["image"]) for b in data.train_dataloader()] == [5]
    assert equal(next(iter(data.val_dataloader())), stacked(data.val))
    assert len(next(iter(data.test_dataloader()))["depth"]) == 3


def test_default_cache_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ANYTEACHER_CACHE", str(tmp_path))
    assert RoomsData().cache == tmp_path
    assert RoomsData(cache=False).cache is None


def test_errors_name_the_problem():
    with pytest.raises(ConfigError, match=r"no split 'vall'. Did you mean val\?"):
        RoomsDataset("vall", 3)
    with pytest.raises(ConfigError, match="got 0"):
        RoomsDataset("val", 0)
    with pytest.raises(ConfigError, match="got -1"):
        RoomsDataset("val", 1, seed=-1)
    with pytest.raises(ConfigError, match="positive size; got 0 x 4"):
        RoomsDataset("val", 1, (0, 4))
    with pytest.raises(ConfigError, match="Did you mean normals"):
        RoomsData(targets=["normal"])
    with pytest.raises(ConfigError, match="batch size must be at least 1"):
        RoomsData(batch_size=0)
    with pytest.raises(IndexError, match="Scene 3 of a split of 3"):
        RoomsDataset("val", 3)[3]


def test_the_data_tells_its_targets_and_classes():
    facts = RoomsData(targets=["depth"], cache=False).facts()
    assert facts.targets == ("depth",)
    assert facts.classes == {"segmentation": len(CLASSES), "presence": len(KINDS)}
    assert facts.max_depth is None


def test_unpaired_rooms_are_those_of_other_scenes_by_night(tmp_path):
    sizes = {"train_size": 6, "val_size": 3, "test_size": 3, "size": SIZE}
    for cache in (True, False):
        data = RoomsData(targets=["depth", "unpaired"], cache=cache, cache_dir=tmp_path, **sizes)
        data.setup("fit")
        assert set(data.train[0]) == {"image", "depth", "unpaired", "index"}
        plain = RoomsDataset("train", 6, SIZE, targets=["depth"])
        assert equal(plain[4], {k: v for k, v in data.train[4].items() if k != "unpaired"})
        night = RoomsDataset("train", 12, SIZE, targets=["relit"])
        others = stacked(night)["relit"][6:]  # none of a scene that is seen by day

        def place(sample, others=others):
            (found,) = [i for i in range(6) if torch.equal(others[i], sample["unpaired"])]
            return found

        drawn = [[place(data.train[Place(i, e)]) for i in range(6)] for e in range(4)]
        assert {i for row in drawn for i in row} == set(range(6))
        assert len({tuple(row) for row in drawn}) == 4  # anew in every epoch
        later = RoomsDataset("val", 6, SIZE, targets=["relit"])
        for i in range(3):
            assert torch.equal(data.val[i]["unpaired"], later[3 + i]["relit"])
    assert data.facts().targets == ("depth", "unpaired")
    with pytest.raises(ConfigError, match="no target 'unpared'"):
        RoomsData(targets=["unpared"])
    with pytest.raises(ConfigError, match="from 1 to 2\\*\\*32 scenes; got 2 from -1 on"):
        RoomsDataset("train", 2, first=-1)
