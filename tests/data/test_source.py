import layouts
import pytest
import torch

from anyteacher import IMAGENET
from anyteacher.data import (
    ADE20KData,
    Augmentation,
    CityscapesData,
    COCOStuffData,
    FoldersData,
    HubData,
    ImageNetData,
    KITTIData,
    NYUv2Data,
    NYUv2FoldersData,
    PairsData,
    Place,
    UnpairedData,
    VOCData,
    VOCPresenceData,
)
from anyteacher.data.source import ImageDataset, height_and_width
from anyteacher.errors import ConfigError, DataError

SIZE = (8, 8)
VARIED = Augmentation(zoom=(1.0, 1.5), color=0.2)
ZOOMED = Augmentation(zoom=(1.0, 1.5))

HUB = {
    "columns": {"image": "photo", "segmentation": "masks", "depth": "depth"},
    "classes": 5,
    "ignore": 200,
    "max_depth": 10.0,
    "depth_scale": 1000.0,
}

MADE = {
    "cityscapes": (layouts.cityscapes, CityscapesData, {}),
    "ade20k": (layouts.ade20k, ADE20KData, {}),
    "coco_stuff": (layouts.coco_stuff, COCOStuffData, {}),
    "voc": (layouts.voc, VOCData, {}),
    "voc_presence": (layouts.voc_presence, VOCPresenceData, {}),
    "kitti": (layouts.kitti, KITTIData, {}),
    "nyu": (layouts.nyu, NYUv2Data, {}),
    "nyu_folders": (layouts.nyu_folders, NYUv2FoldersData, {}),
    "imagenet": (layouts.imagenet, ImageNetData, {"classes": 3}),
    "imagenet_devkit": (layouts.imagenet_devkit, ImageNetData, {"classes": 3}),
    "aligned": (layouts.aligned, PairsData, {"augmentation": ZOOMED}),
    "two_folders": (layouts.two_folders, PairsData, {"augmentation": ZOOMED}),
    "unpaired": (layouts.unpaired, UnpairedData, {}),
    "hub": (layouts.hub, HubData, HUB),
    "folders": (layouts.folders, FoldersData, {"classes": 5, "ignore": 200}),
}


def data_of(name, root, **settings):
    write, make, own = MADE[name]
    return make(str(write(root)), size=SIZE, **{"augmentation": VARIED, **own, **settings})


# Hugging Face's have a name in place of a root.
@pytest.mark.parametrize("name", sorted(MADE.keys() - {"hub"}))
def test_a_root_that_is_not_there_is_refused(name, tmp_path):
    write, make, own = MADE[name]
    root = write(tmp_path / "data")
    make(root, **own).check_there()
    with pytest.raises(DataError, match=rf"no folder '.*none' for {make.__name__} .*--data\.root"):
        make(root / "none", **own).check_there()


def loaded(data, stage="fit"):
    data.setup(stage)
    return data


@pytest.mark.parametrize("name", MADE)
def test_batches_have_the_keys_and_shapes_that_tasks_read(tmp_path, name):
    data = loaded(data_of(name, tmp_path, batch_size=2, num_workers=0))
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (2, 3, *SIZE)
    assert batch["image"].dtype == torch.float32
    assert 0 <= batch["image"].min() <= batch["image"].max() <= 1
    assert batch["index"].dtype == torch.int64
    facts = data.facts()
    assert set(facts.targets) == set(batch) - {"image", "index"}
    for key, classes in facts.classes.items():
        labels = batch[key][batch[key] != 255]
        assert labels.max() < classes
        shapes = {"label": (2,), "segmentation": (2, *SIZE), "presence": (2, classes)}
        assert batch[key].shape == shapes[key]
    if "depth" in batch:
        assert batch["depth"].shape == (2, 1, *SIZE)
        assert 0 <= batch["depth"].min() <= batch["depth"].max() <= facts.max_depth
    if "target" in batch:
        assert batch["target"].shape == batch["image"].shape
    data.setup("test")
    assert len(data.test) > 0


def seen(data, epochs=2):
    """All batches of some epochs."""
    found = []
    for epoch in range(epochs):
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        found += list(loader)
    return found


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # few cores are no matter
@pytest.mark.parametrize("name", ["folders", "unpaired", "hub"])
def test_workers_change_nothing(tmp_path, name):
    alone = seen(loaded(data_of(name, tmp_path, batch_size=1, num_workers=0)))
    many = seen(loaded(data_of(name, tmp_path, batch_size=1, num_workers=6)))
    for mine, theirs in zip(alone, many, strict=True):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_two_processes_see_together_what_one_does(tmp_path):
    data = loaded(data_of("imagenet", tmp_path))

    def read(rank, processes, size):
        from anyteacher.data import ResumableLoader

        loader = ResumableLoader(
            data.train, size, seed=data.seed, num_replicas=processes, rank=rank
        )
        return list(loader)

    whole = read(0, 1, 4)
    parts = [read(rank, 2, 2) for rank in range(2)]
    for batch, *halves in zip(whole, *parts, strict=True):
        together = {
            int(i): image
            for half in halves
            for i, image in zip(half["index"], half["image"], strict=True)
        }
        assert sorted(together) == sorted(batch["index"].tolist())
        for index, image in zip(batch["index"].tolist(), batch["image"], strict=True):
            assert torch.equal(together[index], image)


def test_what_is_drawn_depends_on_seed_epoch_and_place(tmp_path):
    data = loaded(data_of("folders", tmp_path, seed=3))
    first = data.train[Place(1, 0)]["image"]
    assert torch.equal(first, data.train[1]["image"])
    assert torch.equal(first, loaded(data_of("folders", tmp_path, seed=3)).train[1]["image"])
    others = [data.train[Place(1, 1)], loaded(data_of("folders", tmp_path, seed=4)).train[1]]
    assert not any(torch.equal(first, other["image"]) for other in others)
    plain = loaded(data_of("folders", tmp_path, augmentation=None)).train
    assert torch.equal(plain[Place(1, 0)]["image"], plain[Place(1, 5)]["image"])
    assert torch.equal(data.val[Place(1, 0)]["image"], data.val[Place(1, 5)]["image"])


def test_a_share_is_held_out_the_same_for_everyone(tmp_path):
    data = data_of("imagenet", tmp_path, val_share=0.34)
    train, val = data.part("train"), data.part("val")
    names = [{part.name(i) for i in range(len(part))} for part in (train, val)]
    assert [len(part) for part in names] == [6, 3]
    assert not names[0] & names[1]
    other = data_of("imagenet", tmp_path, val_share=0.34, seed=5).part("val")
    assert {other.name(i) for i in range(3)} == names[1]
    assert len(data.part("test")) == 6
    assert not torch.equal(
        loaded(data).train[Place(0, 0)]["image"], data.train[Place(0, 1)]["image"]
    )
    with pytest.raises(ConfigError, match=r"A val_share of 0.01 of 9 training pictures leaves 0"):
        data_of("imagenet", tmp_path, val_share=0.01).part("val")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"val_share": 1.0}, "val_share lies in"),
        ({"seed": -1}, "seed must not be negative"),
        ({"fit": "crob"}, "Did you mean crop"),
        ({"batch_size": 0}, "batch size must be at least 1"),
        ({"num_workers": -1}, "num_workers must be 0 or more; got -1"),
    ],
)
def test_impossible_settings(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        FoldersData(tmp_path, classes=2, **settings)


def test_sizes_that_differ_name_the_files(tmp_path):
    sample = {"image": torch.zeros(3, 4, 5), "segmentation": torch.zeros(4, 6)}
    with pytest.raises(
        DataError, match=r"a.png: the sizes differ \(image 4 x 5, segmentation 4 x 6, .*its size\.$"
    ):
        height_and_width(sample, "a.png")
    sample["segmentation"] = torch.zeros(5, 4)
    with pytest.raises(DataError, match=r"have its size. One of them lies on its side.*EXIF"):
        height_and_width(sample, "a.png")
    root = layouts.folders(tmp_path)
    mask = root / "train" / "masks" / "walk" / "0.png"
    layouts.save(mask, layouts.halves(0, 1)[:5])
    data = loaded(FoldersData(root, classes=5, ignore=200, size=SIZE))
    with pytest.raises(DataError, match=r"0.png: the sizes differ"):
        data.train[0]


def test_places_beyond_the_end(tmp_path):
    data = loaded(data_of("folders", tmp_path))
    assert isinstance(data.train, ImageDataset)
    with pytest.raises(IndexError, match="Sample 3 of 3"):
        data.train[3]


def test_photographs_bring_their_normalisation(tmp_path):
    assert data_of("cityscapes", tmp_path).facts().norm == IMAGENET
