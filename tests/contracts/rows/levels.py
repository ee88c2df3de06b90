"""Losses for links over several levels; those of all levels at once have a table of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from anyteacher.losses import FSP, HCL, KDSVD, LevelLoss, fsp, hcl, kd_svd
from rows.base import Row

ROWS = {HCL: Row(lambda: HCL((2, 1)), partial(hcl, pyramid=(2, 1)))}

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LevelRow:
    """One loss of all levels at once.

    Attributes:
        make: The module, with settings that are easy to check.
        function: The pure function with the same settings.
        at_equality: Its value where both sides are equal.
    """

    make: Callable[[], LevelLoss]
    function: Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]
    at_equality: float = 0.0


LEVEL_TABLE: dict[type[LevelLoss], LevelRow] = {
    FSP: LevelRow(lambda: FSP("average", "mean"), partial(fsp, pool="average", entries="mean")),
    KDSVD: LevelRow(lambda: KDSVD(2, 1, 0.5), partial(kd_svd, vectors=2, spare=1, beta=0.5)),
}

# Levels of other widths and grids; a batch of one, axes of 1, a deeper level that is finer.
LEVELS: list[tuple[Shape, ...]] = [
    ((3, 4, 4, 6), (3, 2, 2, 3)),
    ((2, 3, 5, 3), (2, 4, 3, 2), (2, 2, 1, 2)),
    ((1, 3, 4, 1), (1, 2, 2, 1)),
    ((1, 1, 1, 1), (1, 3, 1, 1)),
    ((2, 2, 2, 3), (2, 3, 4, 2)),
]


def sides(
    shapes: Sequence[Shape], dtype: torch.dtype = torch.float64
) -> tuple[list[Tensor], list[Tensor]]:
    """The features of both sides, the same each time."""
    generator = torch.Generator().manual_seed(3)
    student, teacher = (
        [
            torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype).requires_grad_()
            for shape in shapes
        ]
        for _ in "ab"
    )
    return student, teacher
