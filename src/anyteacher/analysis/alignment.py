"""How alike every compared feature of the student is to every one of the teachers."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import DataError
from anyteacher.layout import to_rows
from anyteacher.spectral import Moments


def on_one_grid(
    features: Sequence[Float[Tensor, "b _ *_"]],
) -> list[Float[Tensor, "n _"]]:
    """Features of the same images as matrices with the same rows, in double precision.

    Maps are averaged onto a grid that has the fewest rows and the fewest columns of any of them;
    beside a vector (B, C) there is one row an image.
    """
    if any(feature.ndim == 2 for feature in features):
        return [to_rows(f if f.ndim == 2 else f.mean((2, 3))).double() for f in features]
    height, width = (min(feature.shape[axis] for feature in features) for axis in (2, 3))
    return [to_rows(F.adaptive_avg_pool2d(f.double(), (height, width))) for f in features]


class Alignment:
    """Centred kernel alignment between all features of two sides, added up over batches.

    Each pair is aligned on its own grid, whatever the others are like: see `on_one_grid`.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], Moments] = {}

    def add(self, students: Mapping[str, Tensor], teachers: Mapping[str, Tensor]) -> None:
        """Adds one batch.

        Args:
            students: Features (B, C, *grid) by name, the same names in every batch.
            teachers: Likewise, of the same images.
        """
        for student, mine in students.items():
            for teacher, other in teachers.items():
                more, pair = Moments.of(*on_one_grid([mine, other])), (student, teacher)
                self._sums[pair] = self._sums[pair] + more if pair in self._sums else more

    def matrix(self) -> tuple[list[str], list[str], Float[Tensor, "s t"]]:
        """The names of both sides, and the alignment of each pair, from 0 to 1.

        Linear, of centred features (Kornblith et al., ICML 2019); see `spectral.Moments.cka`. With
        fewer rows than channels it is too large.

        Raises:
            DataError: when no batch was added.
        """
        if not self._sums:
            raise DataError("An alignment needs at least one batch of features, and got none.")
        students = list(dict.fromkeys(student for student, _ in self._sums))
        teachers = list(dict.fromkeys(teacher for _, teacher in self._sums))
        values = [[float(self._sums[mine, other].cka()) for other in teachers] for mine in students]
        return students, teachers, torch.tensor(values, dtype=torch.float64)
