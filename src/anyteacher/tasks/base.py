"""What a task is: the loss, the metrics and the pictures of one kind of target.

A task says how a student's raw output is read. It holds no head: the student gives the number of
channels that the task asks for (`out_channels`), so any model fits. The keys of a batch are listed
in docs/data.md, with their shapes and units.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torchmetrics import MetricCollection

from anyteacher.errors import ConfigError, DataError, NonFiniteError, did_you_mean
from anyteacher.facts import Facts
from anyteacher.readout import Readout

Batch: TypeAlias = Mapping[str, Tensor]

# Keys of a batch that hold a class: of each image, of each pixel.
_CLASSES = ("label", "segmentation")


class Task(nn.Module, ABC):
    """One kind of target: how to learn it, measure it and show it.

    A concrete task is one final class. Dense tasks take an output (B, out_channels, h, w) of any
    size: it is resized bilinearly to the target's. Global tasks take an output (B, out_channels).

    Attributes:
        target: the key of the batch that the task learns from.
        mode: whether a smaller (`min`) or a larger (`max`) value of that metric is better.
        kind: `dense` for one prediction a pixel, `global` for one an image.
        out_channels: how many channels the student must give.
    """

    target: str
    mode: ClassVar[Literal["min", "max"]]
    kind: ClassVar[Literal["dense", "global"]]

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels

    @property
    @abstractmethod
    def monitor(self) -> str:
        """The name of the metric that chooses the best checkpoint; most classes just state it."""

    @abstractmethod
    def prediction(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """The prediction in the task's units.

        Args:
            output: the student's raw output.
            size: height and width that a dense prediction is wanted at.
        """

    def readout(self) -> Readout | None:
        """What gives the final output of a student that has left training.

        It should need torch alone, and give what `prediction` gives, or for labels their
        probabilities. By default None: then an exported student takes the task along for its
        `prediction`, and whatever the task imports.
        """
        return None

    def forward(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """The prediction: so a task that has no readout is one."""
        return self.prediction(output, size)

    @abstractmethod
    def loss(self, output: Tensor, batch: Batch) -> Float[Tensor, ""]:
        """The loss of a raw output. Computed in float32 at least, whatever the output's type.

        Raises:
            ConfigError: when the output has the wrong shape.
            DataError: when the batch lacks the target, or the target is out of range.
        """

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """New metrics. They raise `DataError` when they are computed over nothing."""

    @abstractmethod
    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Adds one batch to the metrics; raises as `loss` does, and as `finite`."""

    @abstractmethod
    def draw(self, values: Tensor, like: Tensor | None = None) -> UInt8[Tensor, "b 3 h w"]:
        """Pictures of predictions or targets.

        Args:
            values: a batch of predictions, as `prediction` gives them, or of targets.
            like: values whose range sets the scale of the colours where the task has one. Give
                the targets, and predictions are drawn on the same scale as their targets.
        """

    @abstractmethod
    def save(self, prediction: Tensor, stem: Path) -> list[Path]:
        """Writes the prediction of one image, without its batch axis.

        Args:
            prediction: one entry of what `prediction` gives.
            stem: folder and beginning of the names of the files.

        Returns:
            The files that were written.
        """

    def varied(self, batch: Batch, margin: int = 0) -> Batch:
        """A batch as it is trained on: as it is, unless a task makes another one of it.

        What is drawn at random comes from torch's global generator on the CPU, which training seeds
        for every step.

        Args:
            batch: as it is loaded.
            margin: pixels on each side of the images that the student will not see.
        """
        return batch

    def terms(
        self, output: Tensor, batch: Batch, student: Callable[[Tensor], Tensor]
    ) -> Mapping[str, Tensor]:
        """The parts of a training step's loss by name, which training adds up and logs.

        By default the loss alone. What learns beside the student may look at the batch here.

        Args:
            output: the student's raw output for the images of the batch.
            batch: a batch, as `varied` gives it.
            student: gives the raw output for further images in [0, 1].
        """
        return {"loss": self.loss(output, batch)}

    def stepped(self) -> None:
        """Called after each step of the student's optimiser, which may have taken several batches.

        What learns beside the student makes a step of its own here.
        """

    def checkpoint(self) -> dict[str, Any]:
        """What a task has learned itself, for the checkpoint: by default nothing."""
        return {}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `checkpoint` gave."""

    def check_data(self, facts: Facts) -> None:
        """Refuses data that the task's settings do not fit, before anything is read.

        Raises:
            ConfigError: when there is no target of this task, or of another kind.
        """
        if facts.targets and self.target not in facts.targets:
            raise ConfigError(
                f"{type(self).__name__} learns from '{self.target}', which the data does not "
                f"have. {did_you_mean(self.target, facts.targets)} Choose another task or data."
            )

    def check_classes(self, facts: Facts, classes: int) -> None:
        """Refuses data with another number of classes.

        Raises:
            ConfigError: then.
        """
        theirs = facts.classes.get(self.target, classes)
        if theirs != classes:
            raise ConfigError(
                f"{type(self).__name__} is set to {classes} classes, and the data has {theirs}. "
                f"Set the task's classes, and the student's output, to {theirs}."
            )

    def target_of(self, batch: Batch, *axes: int | str) -> Tensor:
        """The target in a batch.

        Args:
            batch: a batch.
            axes: what its shape must be, so that nothing is broadcast: the length of each axis, or
                a name where any will do. Without any, a target of any shape.

        Raises:
            DataError: when the batch has no such key, or it has another shape.
        """
        if self.target not in batch:
            raise DataError(
                f"{type(self).__name__} learns from '{self.target}', which is not in the batch. "
                f"{did_you_mean(self.target, batch.keys())} Choose data with that target."
            )
        target = batch[self.target]
        fits = target.ndim == len(axes) and all(
            isinstance(axis, str) or length == axis
            for length, axis in zip(target.shape, axes, strict=True)
        )
        if axes and not fits:
            raise DataError(
                f"'{self.target}' must be ({', '.join(map(str, axes))}), but is "
                f"{tuple(target.shape)}. Choose data that give that shape, or set the task to them."
            )
        return target

    def classes_in(self, batch: Batch) -> Tensor | None:
        """The classes that losses of links are told of: the task's own, else any in the batch.

        None where images have shares of several classes.
        """
        own = (self.target,) if self.target in _CLASSES else _CLASSES
        found = next((batch[key] for key in own if key in batch), None)
        return None if found is None or found.is_floating_point() else found

    def check_logits(self, link: str, width: int) -> None:
        """Refuses a link that compares logits where the student has none of this task.

        Raises:
            ConfigError: when the feature that is tapped has another width than the task's output.
        """
        if width != self.out_channels:
            raise ConfigError(
                f"Link '{link}' compares logits, and taps a feature of {width} channels of the "
                f"student, whose output has {self.out_channels}. Tap the layer that gives the "
                "logits, on both sides, or use a loss of features."
            )

    def check(self, output: Tensor) -> Tensor:
        """The output, in float32 at least, when its shape is what the task needs.

        Raises:
            ConfigError: otherwise.
        """
        name, channels = type(self).__name__, self.out_channels
        if not isinstance(output, Tensor):
            raise ConfigError(
                f"{name} needs one tensor from the student, which gave a {type(output).__name__}. "
                "Wrap the student in a module that returns the tensor."
            )
        if output.ndim != (4 if self.kind == "dense" else 2) or output.shape[1] != channels:
            axes = "(batch, {}, height, width)" if self.kind == "dense" else "(batch, {})"
            cure = f"Give the student {channels} output channels."
            if output.ndim != axes.count(",") + 1:
                of = "each pixel" if self.kind == "dense" else "the whole image"
                cure = f"Take a student that predicts for {of}."
            raise ConfigError(
                f"{name} needs an output of shape {axes.format(channels)}, but the student gave "
                f"{tuple(output.shape)}. {cure}"
            )
        return output.to(torch.promote_types(output.dtype, torch.float32))

    def finite(self, output: Tensor) -> Tensor:
        """The output as `check` gives it, when it can be measured.

        Metrics would not see what is wrong: NaN is the largest of all scores, and an infinite depth
        is clamped to the farthest.

        Raises:
            ConfigError: when its shape is wrong.
            NonFiniteError: when some of it is infinite or not a number.
        """
        output = self.check(output)
        odd = output.numel() - int(output.isfinite().sum())
        if odd:
            raise NonFiniteError(
                f"Of the {output.numel()} numbers that the student gave for a batch to measure, "
                f"{odd} are infinite or not a number. A smaller learning rate, gradient clipping "
                "or full precision may help; where the loss is sound, look at what the student "
                "does otherwise when it does not train, such as its normalisations."
            )
        return output
