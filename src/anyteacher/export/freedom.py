"""What an exported graph leaves open: the number of images, and their size."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch

from anyteacher.errors import ExportError
from anyteacher.predict import step_of
from anyteacher.student import Student

Made = TypeVar("Made")
Shape = tuple[int, int, int, int]

# Sides that neither a usual stride divides nor share a factor.
_OTHER = (13, 7)


@dataclass(frozen=True)
class Freedom:
    """Of one graph, for images of a size.

    Attributes:
        channels: Of the images.
        size: Height and width that the graph is made with.
        batch: Whether the number of images is open; otherwise it is 1.
        step: What sides must be multiples of; 0 where the size is fixed.
    """

    channels: int
    size: tuple[int, int]
    batch: bool = True
    step: int = 1

    @property
    def example(self) -> Shape:
        """The shape to trace with. Of two images where the number is open: one is special."""
        return (2 if self.batch else 1, self.channels, *self.size)

    def shapes(self) -> list[Shape]:
        """Shapes to check with: two numbers of images and two sizes, where those are open."""
        height, width = self.size
        more = {0: (0, 0), 1: _OTHER}.get(self.step, (self.step, 2 * self.step))
        other = (3 if self.batch else 1, self.channels, height + more[0], width + more[1])
        return list(dict.fromkeys([(1, self.channels, *self.size), other]))

    def axes(self) -> list[str | int]:
        """The shape of the images, in names where it is open."""
        sides: list[str | int] = ["height", "width"] if self.step else list(self.size)
        return ["batch" if self.batch else 1, self.channels, *sides]

    def __str__(self) -> str:
        number = "any number of images" if self.batch else "one image"
        if not self.step:
            return f"{number} of {self.size[0]} x {self.size[1]}"
        multiples = f", both sides multiples of {self.step}" if self.step > 1 else ""
        return f"{number} of any size{multiples}"


def ladder(channels: int, size: tuple[int, int]) -> Iterator[Freedom]:
    """From the most to the least freedom."""
    yield Freedom(channels, size)
    if (step := step_of(size)) > 1:
        yield Freedom(channels, size, step=step)
    yield Freedom(channels, size, step=0)
    yield Freedom(channels, size, batch=False, step=0)


def freest(
    student: Student,
    make: Callable[[Freedom], Made],
    channels: int,
    size: tuple[int, int],
) -> tuple[Made, Freedom, str]:
    """Makes a graph with as much freedom as the model allows.

    Args:
        student: What the graph is made from.
        make: Makes it, or raises where the model does not allow that much.
        channels: Of the images.
        size: Height and width of the images.

    Returns:
        The graph, its freedom, and why it has no more: empty where it has all.

    Raises:
        ExportError: when it cannot be made at all, or the student does not take that size.
    """
    least = Freedom(channels, size, batch=False, step=0)
    if problem := _refusal(student, least):
        raise ExportError(
            f"The student does not take {problem}. Give a size that it does (--size), such as "
            "that of the training images, or multiples of its largest stride, often 32."
        )
    why = ""
    for freedom in ladder(channels, size):
        problem = _refusal(student, freedom)
        if not problem:
            try:
                return make(freedom), freedom, why
            except Exception as error:  # tracers raise many types, and all mean the same here
                problem = line_of(error)
        why = why or problem
    raise ExportError(f"The student cannot be exported: {why}.")


@torch.no_grad()
def _refusal(student: Student, freedom: Freedom) -> str:
    """Why the student itself does not take what a freedom allows; empty where it does."""
    for shape in freedom.shapes():
        try:
            student(torch.rand(shape))
        except Exception as error:  # any model, any error
            return f"images of {shape[2]} x {shape[3]} ({line_of(error)})"
    return ""


def line_of(error: Exception) -> str:
    """The first line of an error that says something, or its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:200]
