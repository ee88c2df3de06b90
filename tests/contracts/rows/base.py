"""What a row of the table of losses says, and how a loss is called by the contract."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from anyteacher.losses import LogitLoss, Loss

CLASSES = 5
MAPS = [(3, 4, 2, 5), (1, 3, 4, 1), (1, 3, 1, 1), (2, 3, 3, 2)]
VECTORS = [(6, 3), (2, 1), (1, 1), (1, 4)]


@dataclass(frozen=True)
class Row:
    """One loss.

    Attributes:
        make: The module, with settings that are easy to check and small sizes.
        function: The pure function with the same settings; None where the loss has learned parts,
            buffers or chance of its own.
        at_equality: Its value for two equal features; None where learned parts decide it.
        one: Whether a batch of one image has a meaning.
        fewest: How many images it compares at least; smaller shapes get that many.
        halves_add_up: Whether the mean of its values for two halves of a batch is its value for
            the whole; for a `BatchLoss` the contract gathers the halves instead.
        smooth: Whether gradcheck applies at random points.
        compiles: Whether it is one graph for `torch.compile`.
    """

    make: Callable[[], Loss]
    function: Callable[[Tensor, Tensor], Tensor] | None = None
    at_equality: float | None = 0.0
    one: bool = True
    fewest: int = 1
    halves_add_up: bool = True
    smooth: bool = True
    compiles: bool = True


def built(row: Row, width: int, other: int | None = None) -> Loss:
    """The module with its parts for these widths, the same each time, in double precision."""
    torch.manual_seed(1)
    loss = row.make()
    loss.build(width, other or width)
    return loss.double()


def told(loss: Loss, images: int, grid: tuple[int, ...] = ()) -> dict[str, Tensor]:
    """What a loss needs to know of so many images."""
    known = {
        "targets": torch.arange(images).reshape(-1, *(1 for _ in grid)).expand(-1, *grid) % CLASSES,
        "indices": torch.arange(images),
    }
    return {name: known[name] for name in loss.needs}


def value(loss: Loss, student: Tensor, teacher: Tensor) -> Tensor:
    """The loss of two features, the same each time even where chance is at work."""
    torch.manual_seed(2)
    result: Tensor = loss(student, teacher, **told(loss, len(student), student.shape[2:]))
    return result


def shapes_of(cls: type[Loss], row: Row) -> list[tuple[int, ...]]:
    """Shapes of features that a loss takes."""
    shapes = {"positions": MAPS, "images": VECTORS}.get(cls.form, MAPS + VECTORS)
    if issubclass(cls, LogitLoss):
        shapes = [(images, CLASSES, *grid) for images, _, *grid in shapes]
    shapes = [(max(images, row.fewest), *rest) for images, *rest in shapes]
    return list(dict.fromkeys(shape for shape in shapes if row.one or shape[0] > 1))


def largest(cls: type[Loss], row: Row) -> tuple[int, ...]:
    """The shape with the most images."""
    return max(shapes_of(cls, row), key=lambda shape: (shape[0], len(shape)))


def with_zeros(x: Tensor, what: str) -> Tensor:
    """A copy in which a `channel` of an image, a `position` or an `image` is zero, as by a ReLU."""
    x = x.detach().clone()
    place = {"channel": (1, 1), "position": (1, ..., *(0 for _ in x.shape[2:])), "image": (1,)}
    x[place[what]] = 0
    return x.requires_grad_()


def gradient_sizes(x: Tensor) -> Tensor:
    """The lengths of the gradients at positions of images, where there is one."""
    assert x.grad is not None
    lengths: Tensor = x.grad.norm(dim=1)
    return lengths[lengths > 0]


def pair(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Two features, the same each time."""
    generator = torch.Generator().manual_seed(3)
    first, second = (
        torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype) for _ in range(2)
    )
    return first.requires_grad_(), second.requires_grad_()
