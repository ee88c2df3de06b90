"""Loaders whose batches depend on the seed, the epoch and the position alone.

Training that is killed in the middle of an epoch goes on with the batch at which it was stopped:
the order of an epoch is a function of (seed, epoch), and `ResumableLoader` tells Lightning's
checkpoints, through `state_dict`, how many batches it has handed out. Under DDP each process takes
every n-th image of the same order, so n processes see together, step by step, what one process with
n times the batch would see.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torch.utils.data.distributed import DistributedSampler

from anyteacher.errors import ConfigError
from anyteacher.facts import Facts

Batch = dict[str, Tensor]


class Samples(Sequence[Batch]):
    """Samples that were fetched together: a batch already, and the list that torch expects."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return len(next(iter(self.batch.values())))

    def __getitem__(self, index: Any) -> Any:
        """One sample, by its place in the batch."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return {key: value[index] for key, value in self.batch.items()}


def collate(samples: Sequence[Batch]) -> Batch:
    """A batch: without any work for samples that were fetched together."""
    if isinstance(samples, Samples):
        return samples.batch
    batch: Batch = default_collate(list(samples))
    return batch


class Place(int):
    """The place of a sample in its data set, which also knows the epoch that asks for it.

    So a data set can draw anew in every epoch, in whatever process it is read.

    >>> Place(3, epoch=2) == 3, Place(3, epoch=2).epoch
    (True, 2)
    """

    epoch: int

    def __new__(cls, place: int, epoch: int = 0) -> "Place":
        """A whole number with an epoch, both from 0."""
        made = super().__new__(cls, place)
        made.epoch = epoch
        return made

    def __getnewargs__(self) -> tuple[int, int]:  # type: ignore[override]
        """For the way into a worker process."""
        return int(self), self.epoch


class ResumableSampler(DistributedSampler[Any]):
    """A shuffled order that depends on (seed, epoch) alone and may start in the middle.

    It is a `DistributedSampler`, so Lightning leaves it in place and calls its `set_epoch`. Each
    number is a `Place`, which knows the epoch.

    Args:
        dataset: what to draw from.
        seed: with the epoch, decides the order.
        num_replicas: processes that train together.
        rank: this process.

    >>> sampler = ResumableSampler(range(4), seed=3)
    >>> sampler.set_epoch(1)
    >>> order = list(sampler)
    >>> sampler.skip = 1
    >>> list(sampler) == order[1:]
    True
    """

    def __init__(
        self, dataset: Any, *, seed: int = 0, num_replicas: int = 1, rank: int = 0
    ) -> None:
        # torch adds the epoch to the seed; far apart, seeds share no epoch's order.
        super().__init__(
            dataset, num_replicas, rank, shuffle=True, seed=seed * 1_000_003, drop_last=True
        )
        self.skip = 0

    def __iter__(self) -> Iterator[int]:
        return iter([Place(i, self.epoch) for i in super().__iter__()][self.skip :])


class Share(DistributedSampler[Any]):
    """Every n-th sample in order, each seen by one process alone.

    torch's own sampler repeats some so that all processes have as many, and they would count twice
    in the metrics.

    Args:
        dataset: what to draw from.
        num_replicas: processes that measure together.
        rank: this process.

    Raises:
        ConfigError: when there are fewer samples than processes.

    >>> [list(Share(range(5), 2, rank)) for rank in range(2)]
    [[0, 2, 4], [1, 3]]
    """

    def __init__(self, dataset: Any, num_replicas: int, rank: int) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle=False)
        self.count = len(dataset)
        if self.count < num_replicas:
            raise ConfigError(
                f"{num_replicas} processes cannot share {self.count} samples. Use fewer processes "
                "or more validation and test data."
            )

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, self.count, self.num_replicas))

    def __len__(self) -> int:
        return len(range(self.rank, self.count, self.num_replicas))

    def common_batch_size(self, wanted: int) -> int:
        """The nearest size with which all processes have as many batches, for they wait for it.

        >>> [Share(range(9), 2, 0).common_batch_size(size) for size in (1, 2, 3, 4)]
        [3, 3, 3, 3]
        """
        least, more = divmod(self.count, self.num_replicas)
        if not more:
            return wanted
        smaller = [size for size in range(wanted, 1, -1) if least % size]
        return next(iter(smaller), next(size for size in range(2, least + 2) if least % size))


class ResumableLoader(DataLoader[Any]):
    """A training loader that can be saved and goes on where it was.

    Attributes:
        waited: Seconds that the current pass, or else the last one, has waited for its batches.

    Args:
        dataset: fetched batch by batch where it has `__getitems__`.
        batch_size: images a batch and process; an incomplete last batch is left out.
        seed: decides the order of every epoch.
        num_replicas: processes that train together.
        rank: this process.
        num_workers: worker processes.
        epoch: tells the current epoch at the start of each pass; None leaves it to `set_epoch`.

    Raises:
        ConfigError: when there are fewer images than processes.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int,
        *,
        seed: int = 0,
        num_replicas: int = 1,
        rank: int = 0,
        num_workers: int = 0,
        epoch: Callable[[], int] | None = None,
    ) -> None:
        sampler = ResumableSampler(dataset, seed=seed, num_replicas=num_replicas, rank=rank)
        if len(sampler) < 1:
            raise ConfigError(
                f"{num_replicas} processes cannot share a training set of {len(sampler.dataset)} "  # type: ignore[arg-type]
                "images. Use fewer processes or more images."
            )
        super().__init__(
            dataset,
            # A training set smaller than a batch is one batch, instead of none.
            batch_size=min(batch_size, len(sampler)),
            sampler=sampler,
            drop_last=True,
            **_loader_options(num_workers),
        )
        self._order, self._epoch = sampler, epoch
        self._start = (0, 0)
        self._done = 0
        self.waited = 0.0

    def __iter__(self) -> Any:
        """The batches of the sampler's epoch, from where the loader was saved."""
        if self._epoch is not None:
            self._order.set_epoch(self._epoch())
        epoch, done = self._start
        self._done = done if epoch == self._order.epoch and done < len(self) else 0
        self._order.skip = self._done * (self.batch_size or 1)
        self.waited, asked = 0.0, perf_counter()
        for batch in super().__iter__():
            self.waited += perf_counter() - asked
            self._done += 1
            yield batch
            asked = perf_counter()

    def state_dict(self) -> dict[str, int]:
        """The epoch and how many of its batches were handed out."""
        return {"epoch": self._order.epoch, "batch": self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Makes the next pass go on there, if it is one of the same epoch."""
        self._start = (state["epoch"], state["batch"])


def _loader_options(num_workers: int) -> dict[str, Any]:
    return {
        "num_workers": num_workers,
        "collate_fn": collate,
        "persistent_workers": num_workers > 0,
        "pin_memory": torch.cuda.is_available(),
        # Workers are seeded from this generator. Without it, each pass would draw from torch's
        # global one, and a resumed run would draw another number of times.
        "generator": torch.Generator(),
    }


class DataModule(LightningDataModule, ABC):  # type: ignore[misc]
    """Train, validation and test loaders over three data sets, which a subclass sets up.

    A batch holds `image` (B, C, H, W) in [0, 1], what the task learns from, and for losses that
    remember images `index` (B,), int64: each one's place in the data set, from 0.

    Args:
        batch_size: images a batch and process.
        num_workers: worker processes of each loader.
        seed: decides the order of training.
    """

    train: Dataset[Any]
    val: Dataset[Any]
    test: Dataset[Any]

    def __init__(self, batch_size: int, num_workers: int, seed: int) -> None:
        super().__init__()
        if batch_size < 1:
            raise ConfigError(f"The batch size must be at least 1; got {batch_size}.")
        if num_workers < 0:
            raise ConfigError(f"num_workers must be 0 or more; got {num_workers}.")
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self._loader: ResumableLoader | None = None
        self._saved: dict[str, int] = {}

    @abstractmethod
    def setup(self, stage: str) -> None:
        """Makes the data sets that a stage needs: "fit", "validate" or "test"."""

    def check_there(self) -> None:
        """Refuses data that is not where it should be, before models are made; by default nothing.

        Raises:
            DataError: then.
        """

    def facts(self) -> Facts:
        """What the task's settings are compared with before training; by default nothing."""
        return Facts()

    def first_images(self, count: int) -> Tensor:
        """The first images of the training set (n, C, H, W), whatever the order of training.

        Args:
            count: How many, if there are as many.
        """
        places = range(min(count, len(self.train)))  # type: ignore[arg-type]
        return torch.stack([self.train[place]["image"] for place in places])

    def images_in_order(self, size: int) -> Iterator[Tensor]:
        """All images of the training set in its own order, in batches (n, C, H, W).

        Several processes share each batch, every n-th image of it for each; none gets an empty one.

        Args:
            size: Images in a batch, of all processes together; the last may have fewer.
        """
        processes = self.trainer.world_size if self.trainer else 1
        rank = self.trainer.global_rank if self.trainer else 0
        count, size = len(self.train), max(size, processes)  # type: ignore[arg-type]
        for start in range(0, count - processes + 1, size):
            places = range(start + rank, min(start + size, count), processes)
            yield torch.stack([self.train[place]["image"] for place in places])

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled by (seed, epoch), this process's share; goes on where it was saved."""
        self._loader = ResumableLoader(
            self.train,
            self.batch_size,
            seed=self.seed,
            num_replicas=self.trainer.world_size if self.trainer else 1,
            rank=self.trainer.global_rank if self.trainer else 0,
            num_workers=self.num_workers,
            # Lightning calls set_epoch with a number that is one too high after a resumed run that
            # is bounded by its steps.
            epoch=None if self.trainer is None else self._current_epoch,
        )
        if self._saved:
            self._loader.load_state_dict(self._saved)
            self._saved = {}
        return self._loader

    def _current_epoch(self) -> int:
        return int(self.trainer.current_epoch)

    def state_dict(self) -> dict[str, int]:
        """The place in the training data, for the checkpoint.

        Lightning also asks the loader, but gives it its state back only where nothing has asked
        for the number of steps before, as a schedule of the learning rate does.
        """
        return {} if self._loader is None else self._loader.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Makes the next training loader go on there."""
        self._saved = state

    def val_dataloader(self) -> DataLoader[Any]:
        """In order, this process's share."""
        return self._ordered(self.val)

    def test_dataloader(self) -> DataLoader[Any]:
        """In order, this process's share."""
        return self._ordered(self.test)

    def _ordered(self, dataset: Dataset[Any]) -> DataLoader[Any]:
        world = self.trainer.world_size if self.trainer else 1
        if world == 1:
            return DataLoader(dataset, self.batch_size, **_loader_options(self.num_workers))
        share = Share(dataset, world, self.trainer.global_rank)
        size = share.common_batch_size(self.batch_size)
        return DataLoader(dataset, size, sampler=share, **_loader_options(self.num_workers))
