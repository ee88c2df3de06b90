"""What several tasks do with their targets: means over what is known, and checks of labels."""

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from anyteacher.errors import DataError


def size_of(maps: Shaped[Tensor, "*any h w"]) -> tuple[int, int]:
    """Height and width."""
    return maps.shape[-2], maps.shape[-1]


def valid_mean(values: Float[Tensor, "b ..."], valid: Bool[Tensor, "b ..."]) -> Float[Tensor, " b"]:
    """The mean over the valid entries of each image; zero for an image that has none.

    Such an image still counts as one of the batch. So an image has the same weight whatever else
    is in its batch, and the gradient that data-parallel processes average is the gradient of the
    whole batch.

    >>> values = torch.tensor([[1.0, 5.0], [1.0, 1.0]])
    >>> valid_mean(values, torch.tensor([[True, True], [False, False]]))
    tensor([3., 0.])
    """
    kept = torch.where(valid, values, 0.0).flatten(1).sum(1)
    return kept / valid.flatten(1).sum(1).clamp(min=1)


def check_labels(labels: Shaped[Tensor, "*any"], classes: int, ignore: int | None = None) -> None:
    """Refuses labels that no class has, before a GPU answers with a failed assertion.

    Skipped while `torch.compile` traces, which cannot look at values.

    Raises:
        DataError: when a label is negative or not below `classes`.
    """
    if torch.compiler.is_compiling():
        return
    if labels.is_floating_point() or labels.is_complex():
        raise DataError(f"Labels must be integers, not {labels.dtype}.")
    known = labels if ignore is None else labels[labels != ignore]
    if known.numel() == 0:
        return
    low, high = (int(end) for end in known.aminmax())
    if low < 0 or high >= classes:
        besides = "" if ignore is None else f" (or {ignore} for ignored pixels)"
        raise DataError(
            f"Labels run from {low} to {high}, but the task has {classes} classes: "
            f"0 to {classes - 1}{besides}. Set the number of classes to that of the data."
        )
