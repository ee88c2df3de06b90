"""Losses between the logits of two models of one task: one row an image, or one a pixel."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from anyteacher.errors import ConfigError, DataError, LayoutError
from anyteacher.losses.base import Feature, Given, LogitLoss, Scalar, check_classes, comparable


def kd(
    student: Float[Tensor, "b k *grid"],
    teacher: Float[Tensor, "b k *grid"],
    *,
    temperature: float = 4.0,
) -> Float[Tensor, ""]:
    """`T^2 KL(softmax(teacher / T) || softmax(student / T))`, mean over images (and pixels).

    The divergence is summed over the classes. `T^2` makes up for the gradient, which falls with
    the square of the temperature. What it is given counts as logits: features that have one width
    by chance would be compared as if their channels were classes.

    Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", NeurIPS 2014
    workshop.

    >>> float(kd(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 0.0]]), temperature=2.0))
    0.480...
    """
    student, teacher = class_logits("kd", student, teacher)
    return temperature**2 * _divergence(student / temperature, teacher / temperature)


def standardized_kd(
    student: Float[Tensor, "b k *grid"],
    teacher: Float[Tensor, "b k *grid"],
    *,
    temperature: float = 2.0,
    eps: float = 1e-7,
) -> Float[Tensor, ""]:
    """`kd` of the z-scores of each row of logits: `(z - mean) / (std + eps)` over the classes.

    The student then need not match the range of the teacher's logits, only their relations. The
    standard deviation divides by K - 1, as in its authors' code. A constant row has z-scores 0.
    What it is given counts as logits: features that have one width by chance would be compared as
    if their channels were classes.

    Source: Sun, Ren, Li, Wang and Cao, "Logit Standardization in Knowledge Distillation", CVPR
    2024.
    """
    student, teacher = class_logits("standardized_kd", student, teacher)
    scores = (_z_scores(logits, eps) / temperature for logits in (student, teacher))
    return temperature**2 * _divergence(*scores)


def dkd(
    student: Float[Tensor, "b k *grid"],
    teacher: Float[Tensor, "b k *grid"],
    targets: Integer[Tensor, "b ..."],
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    ignore: int = -100,
) -> Float[Tensor, ""]:
    """`T^2 (alpha TCKD + beta NCKD)`, mean over images (and the labelled pixels of each).

    TCKD is the divergence of the two probabilities (target class, any other class), NCKD that of
    the distributions over the other classes alone; both are KL(teacher || student) at temperature
    T. With `alpha` 1 and, in place of `beta`, the teacher's probability of the other classes,
    this would be `kd`. An image without a label adds zero.

    Source: Zhao, Cui, Song, Qiu and Liang, "Decoupled Knowledge Distillation", CVPR 2022.

    Args:
        student: The student's logits.
        teacher: The teacher's.
        targets: Class of each image, or of each pixel; a map of another size is read at the
            nearest pixel.
        alpha: Weight of the target class.
        beta: Weight of the other classes.
        temperature: Divides the logits.
        ignore: The label of what is left out.

    Raises:
        LayoutError: for fewer than three classes, or targets of another shape.
        DataError: for a target that is no class.
    """
    student, teacher = class_logits("dkd", student, teacher)
    _three_classes("dkd", student.shape[1])
    labels, known = _labels("dkd", targets, student, ignore)
    place = labels.unsqueeze(1)
    target = torch.zeros_like(student, dtype=torch.bool).scatter(1, place, True)
    (mine, my_target, my_rest), (theirs, their_target, their_rest) = (
        _split(logits / temperature, place, target) for logits in (student, teacher)
    )
    tckd = their_target.exp() * (their_target - my_target)
    tckd = tckd + their_rest.exp() * (their_rest - my_rest)
    nckd = (theirs.exp() * (theirs - mine)).masked_fill(target, 0.0).sum(1)
    each = torch.where(known, alpha * tckd.squeeze(1) + beta * nckd, 0.0).reshape(len(labels), -1)
    # As the task's loss does: an image weighs the same whatever else is in its batch.
    counts = known.reshape(len(labels), -1).sum(1).clamp(min=1)
    return temperature**2 * (each.sum(1) / counts).mean()


class KD(LogitLoss):
    """Knowledge distillation: the divergence of the softened class probabilities.

    Its authors give the cross-entropy of the hard labels a considerably lower weight than this
    loss; 0.1 to 0.9 at a temperature of 4 is usual since.

    Args:
        temperature: Divides both models' logits; positive. The larger, the softer.
    """

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        self.temperature = positive_temperature("KD", temperature)

    def forward(self, student: Feature, teacher: Feature) -> Scalar:
        """See `kd`."""
        return kd(student, teacher, temperature=self.temperature)


class StandardizedKD(LogitLoss):
    """Knowledge distillation from standardised logits.

    Its authors use a weight of 9 and temperatures of 2 or 3, beside 0.1 of the cross-entropy.

    Args:
        temperature: Divides the z-scores; positive.
    """

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        self.temperature = positive_temperature("StandardizedKD", temperature)

    def forward(self, student: Feature, teacher: Feature) -> Scalar:
        """See `standardized_kd`."""
        return standardized_kd(student, teacher, temperature=self.temperature)


class DKD(LogitLoss):
    """Decoupled knowledge distillation: the target class and the others weighed apart.

    Its authors use a weight of 1, grown linearly over the first epochs (the link's `warmup`, in
    steps): over 20 of them on CIFAR-100, with `beta` up to 8 or more, and over one on ImageNet,
    with `beta` 0.5 and temperature 1.

    Args:
        alpha: Weight of the target class; 0 or more.
        beta: Weight of the other classes; 0 or more.
        temperature: Divides both models' logits; positive.
        ignore: The label of images or pixels that are left out: 255 for the segmentation of this
            package. The default is that of torch's cross-entropy.
    """

    needs: ClassVar[tuple[Given, ...]] = ("targets",)

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 8.0,
        temperature: float = 4.0,
        ignore: int = -100,
    ) -> None:
        super().__init__()
        if not isinstance(ignore, int):
            raise ConfigError(f"DKD's ignore is a label, a whole number, got {ignore}.")
        self.alpha, self.beta = weights_of("DKD", alpha=alpha, beta=beta)
        self.temperature, self.ignore = positive_temperature("DKD", temperature), ignore

    def build(
        self, student_width: int, teacher_width: int, teacher: nn.Module | None = None
    ) -> None:
        """Refuses fewer than three classes."""
        super().build(student_width, teacher_width)
        _three_classes("DKD", min(student_width, teacher_width))

    def forward(  # type: ignore[override]  # the link gives what `needs` names
        self, student: Feature, teacher: Feature, targets: Tensor
    ) -> Scalar:
        """See `dkd`."""
        return dkd(
            student,
            teacher,
            targets,
            alpha=self.alpha,
            beta=self.beta,
            temperature=self.temperature,
            ignore=self.ignore,
        )


def class_logits(name: str, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both in a precision that sums safely, once it is known that they can be compared.

    Raises:
        LayoutError: also for a single channel, which is no class among others.
    """
    student, teacher = comparable(name, student, teacher)
    check_classes(name, student.shape[1])
    return student, teacher


def _three_classes(name: str, classes: int) -> None:
    if classes < 3:
        raise LayoutError(
            f"{name} is undefined for {classes} classes: beside the target there is one other, "
            "whose share of the rest is always 1. Use losses.KD()."
        )


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) of two logits, summed over classes, mean over rows."""
    mine, theirs = F.log_softmax(student, 1), F.log_softmax(teacher, 1)
    rows = student.numel() // student.shape[1]
    return F.kl_div(mine, theirs, reduction="sum", log_target=True) / rows


def _z_scores(logits: Tensor, eps: float) -> Tensor:
    mean = logits.mean(1, keepdim=True)
    centred = logits - mean
    variance = centred.square().sum(1, keepdim=True) / (logits.shape[1] - 1)
    # Of a constant row only the rounding of its mean would be stretched, by 1 / eps.
    varies = variance > (4 * torch.finfo(logits.dtype).eps * mean).square()
    deviation = torch.where(varies, variance, 1.0).sqrt()
    return centred / (deviation + eps)


def _split(logits: Tensor, place: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities: of each other class among the others, of the target, of the others."""
    logs = F.log_softmax(logits, 1)
    rest = logs.masked_fill(target, -math.inf).logsumexp(1, keepdim=True)
    # The target's own place is filled before it is used: its exponential may overflow.
    return (logs - rest).masked_fill(target, 0.0), logs.gather(1, place), rest


def _labels(
    name: str, targets: Tensor, logits: Tensor, ignore: int
) -> tuple[Integer[Tensor, "b ..."], Bool[Tensor, "b ..."]]:
    """The class of each row, 0 where it has none, and where it has one."""
    if targets.ndim != logits.ndim - 1 or len(targets) != len(logits):
        raise LayoutError(
            f"{name} needs a class for each row of logits, got targets of shape "
            f"{tuple(targets.shape)} for logits of shape {tuple(logits.shape)}."
        )
    targets = targets.long()
    if targets.shape[1:] != logits.shape[2:]:
        resized = F.interpolate(targets[:, None].float(), logits.shape[2:], mode="nearest-exact")
        targets = resized[:, 0].long()
    known, classes = targets != ignore, logits.shape[1]
    if not torch.compiler.is_compiling():  # a graph cannot look at values
        bad = known & ((targets < 0) | (targets >= classes))
        if bad.any():
            raise DataError(
                f"{name} was given the target {int(targets[bad][0])} and logits of {classes} "
                f"classes, 0 to {classes - 1}. Set `ignore` (now {ignore}) to the label of what "
                "is to be left out, or tap the logits of all classes."
            )
    return torch.where(known, targets, 0), known


def positive_temperature(name: str, temperature: float) -> float:
    """The temperature, when it is one.

    Raises:
        ConfigError: otherwise.
    """
    if not 0 < temperature < math.inf:
        raise ConfigError(f"{name} needs a positive temperature, got {temperature}.")
    return temperature


def weights_of(name: str, **weights: float) -> list[float]:
    """The weights of a loss's terms in order, when none is negative.

    Raises:
        ConfigError: otherwise.
    """
    if not all(0 <= weight < math.inf for weight in weights.values()):
        given = " and ".join(f"{key}={weight}" for key, weight in weights.items())
        raise ConfigError(f"{name} needs weights of 0 or more, got {given}.")
    return list(weights.values())
