import itertools
import pickle
import time
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, default_collate

from anyteacher.data import DigitsData, ResumableLoader, ResumableSampler, collate
from anyteacher.data.loading import Place, Samples, Share
from anyteacher.errors import ConfigError


class Numbers(Dataset):
    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return {"image": torch.tensor([float(index)])}


def numbers(loader):
    return [batch["image"].flatten().int().tolist() for batch in loader]


def test_the_order_depends_on_seed_and_epoch_alone():
    orders = {}
    for seed, epoch in itertools.product((0, 1), (0, 1, 2)):
        torch.manual_seed(epoch)
        sampler = ResumableSampler(range(50), seed=seed)
        sampler.set_epoch(epoch)
        orders[seed, epoch] = tuple(sampler)
        again = ResumableSampler(range(50), seed=seed)
        again.set_epoch(epoch)
        assert tuple(again) == orders[seed, epoch]
        assert sorted(orders[seed, epoch]) == list(range(50))
    assert len(set(orders.values())) == 6


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_where_it_was_saved(workers):
    whole = ResumableLoader(Numbers(23), 4, seed=1, num_workers=workers)
    whole.sampler.set_epoch(3)
    expected = numbers(whole)
    assert [len(b) for b in expected] == [4] * 5
    first = ResumableLoader(Numbers(23), 4, seed=1, num_workers=workers)
    first.sampler.set_epoch(3)
    seen = numbers(itertools.islice(first, 2))
    second = ResumableLoader(Numbers(23), 4, seed=1, num_workers=workers)
    second.load_state_dict(first.state_dict())
    second.sampler.set_epoch(3)
    assert seen + numbers(second) == expected
    second.sampler.set_epoch(4)
    whole.sampler.set_epoch(4)
    assert numbers(second) == numbers(whole) != expected


def test_a_loader_saved_at_the_end_of_an_epoch_begins_the_next():
    loader = ResumableLoader(Numbers(8), 4)
    list(loader)
    other = ResumableLoader(Numbers(8), 4)
    other.load_state_dict(loader.state_dict())
    assert len(numbers(other)) == 2
    other.sampler.set_epoch(1)
    assert len(numbers(other)) == 2


def test_processes_share_the_batches_of_one_process():
    one = ResumableLoader(Numbers(40), 8, seed=5)
    two = [ResumableLoader(Numbers(40), 4, seed=5, num_replicas=2, rank=r) for r in range(2)]
    together = [sorted(a + b) for a, b in zip(*map(numbers, two), strict=True)]
    assert together == [sorted(batch) for batch in numbers(one)]


def test_a_pass_leaves_the_random_state_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    list(ResumableLoader(Numbers(8), 4))
    assert torch.equal(torch.rand(1), expected)


def test_small_sets_are_one_batch_and_empty_shares_are_refused():
    assert [len(b) for b in numbers(ResumableLoader(Numbers(3), 8))] == [3]
    with pytest.raises(ConfigError, match="4 processes cannot share a training set of 3 images"):
        ResumableLoader(Numbers(3), 8, num_replicas=4, rank=0)


def test_samples_collate_alike_in_both_ways():
    samples = Samples({"a": torch.arange(6).reshape(3, 2), "b": torch.arange(3)})
    for batch in (
        collate(samples),
        default_collate(samples),
        collate([samples[i] for i in range(3)]),
    ):
        assert torch.equal(batch["a"], samples.batch["a"])
        assert torch.equal(batch["b"], samples.batch["b"])


class Recorder(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen = []

    def training_step(self, batch, _):
        self.seen.append(batch["image"].flatten().int().tolist())
        return self.layer(batch["image"]).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def fit(folder, save_at, resume=None):
    recorder = Recorder()
    trainer = pl.Trainer(
        max_epochs=3,
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            pl.callbacks.ModelCheckpoint(
                folder, "{step}", every_n_train_steps=save_at, save_top_k=-1
            )
        ],
    )
    trainer.fit(recorder, ResumableLoader(Numbers(22), 4, seed=2), ckpt_path=resume)
    return recorder.seen


@pytest.mark.parametrize("step", [3, 5, 7, 10])
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")
@pytest.mark.filterwarnings("ignore:.*logging interval:UserWarning")
@pytest.mark.filterwarnings("ignore:.*exists and is not empty")
def test_lightning_resumes_with_the_very_next_batch(tmp_path, step):
    """In the middle of an epoch (3, 7) and at its end (5, 10 of 5 batches each)."""
    whole = fit(tmp_path, step)
    assert len(whole) == 15
    assert fit(tmp_path, step, resume=tmp_path / f"step={step}.ckpt") == whole[step:]


@pytest.mark.parametrize("length", [2, 3, 5, 8, 9, 23])
@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("wanted", [1, 2, 3, 4, 50])
def test_processes_share_the_samples_and_have_as_many_batches(length, world, wanted):
    if length < world:
        with pytest.raises(ConfigError, match=r"3 processes cannot share 2 samples"):
            Share(Numbers(length), world, 0)
        return
    shares = [Share(Numbers(length), world, rank) for rank in range(world)]
    assert sorted(itertools.chain(*shares)) == list(range(length))
    assert [len(share) for share in shares] == [len(list(share)) for share in shares]
    (size,) = {share.common_batch_size(wanted) for share in shares}
    assert len({-(-len(share) // size) for share in shares}) == 1
    if len({len(share) for share in shares}) == 1:
        assert size == wanted


def test_the_epoch_is_asked_for_where_it_is_known():
    loader = ResumableLoader(Numbers(20), 4, epoch=lambda: 3)
    expected = ResumableLoader(Numbers(20), 4)
    expected.sampler.set_epoch(3)
    loader.sampler.set_epoch(7)  # as a framework may
    assert numbers(loader) == numbers(expected)


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 5, 8, 23])
def test_images_in_order_are_shared_batch_by_batch(count, processes):
    data, shares = DigitsData(batch_size=4), []
    data.train = Numbers(count)
    for rank in range(processes):
        data.trainer = SimpleNamespace(world_size=processes, global_rank=rank)
        shares.append([x.flatten().int().tolist() for x in data.images_in_order(5)])
    assert len({len(share) for share in shares}) == 1
    assert all(batch for share in shares for batch in share)
    size = max(5, processes)
    whole = [list(range(at, min(at + size, count))) for at in range(0, count, size)]
    if whole and len(whole[-1]) < processes:
        del whole[-1]  # too few for all
    assert [sorted(itertools.chain(*parts)) for parts in zip(*shares, strict=True)] == whole


def test_first_images_are_those_of_the_set_in_its_own_order():
    data = DigitsData(batch_size=4, train_size=10, seed=3)
    data.setup("fit")
    found = data.first_images(3)
    assert torch.equal(found, torch.stack([data.train[place]["image"] for place in range(3)]))
    assert len(data.first_images(99)) == 10


def test_a_place_knows_its_epoch_on_the_way_into_a_worker():
    place = pickle.loads(pickle.dumps(Place(7, 3)))
    assert (place, place.epoch) == (7, 3)
    assert torch.arange(9)[[place, Place(2)]].tolist() == [7, 2]


@pytest.mark.parametrize("workers", [0, 2])
def test_every_sample_is_asked_for_in_the_epoch_of_its_pass(workers):
    class Epochs(Numbers):
        def __getitem__(self, index):
            return {"image": torch.tensor([float(index.epoch)])}

    loader = ResumableLoader(Epochs(6), 2, num_workers=workers)
    for epoch in (0, 4):
        loader.sampler.set_epoch(epoch)
        assert numbers(loader) == [[epoch, epoch]] * 3


def test_the_time_that_a_pass_waits_for_its_batches():
    class Slow(Numbers):
        def __getitem__(self, index):
            time.sleep(0.02)
            return super().__getitem__(index)

    loader = ResumableLoader(Slow(4), 2)
    for _ in range(2):
        list(loader)
        assert 0.08 <= loader.waited < 1
