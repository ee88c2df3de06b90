"""Whether an exported student gives what the student gives."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from anyteacher.errors import ExportError
from anyteacher.student import Student

TOLERANCE = 1e-4
"""As a share of the range of the output."""


def agreement(
    student: Student, exported: Callable[[Tensor], Tensor], shapes: Iterable[tuple[int, ...]]
) -> float:
    """The largest difference between both over images of some shapes, as a share of the range.

    Raises:
        ExportError: when it is larger than `TOLERANCE`, or the shapes of the outputs differ.
    """
    worst = 0.0
    for shape in shapes:
        found = difference(student, exported, shape)
        if not found <= TOLERANCE:  # nor where it is not a number
            raise ExportError(
                f"For images of shape {shape} the exported student differs from the student by "
                f"{found:.2g} of the range of its output, and {TOLERANCE:g} is allowed. Choose "
                "another format, or --check false to write it all the same."
            )
        worst = max(worst, found)
    return worst


@torch.no_grad()
def difference(
    student: Student, exported: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> float:
    """The largest difference over noise, as a share of the range of the student's output.

    The range includes zero. Not a number where either output is none.

    Raises:
        ExportError: when the shapes of the outputs differ.
    """
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    expected, given = student(images), exported(images)
    if given.shape != expected.shape:
        raise ExportError(
            f"For images of shape {shape} the exported student gives {tuple(given.shape)}, and the "
            f"student {tuple(expected.shape)}. Choose another format."
        )
    span = expected.max().clamp(min=0) - expected.min().clamp(max=0)
    smallest = torch.finfo(span.dtype).tiny
    return float((given - expected).abs().max() / span.clamp(min=smallest))
