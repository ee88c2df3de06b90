"""Links without a teacher made real: a feature of the student, and the regularisers of it."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import AnyteacherError
from anyteacher.layout import Layout, channels, check, fills_grid
from anyteacher.level import Compared, Source, detected
from anyteacher.link import Link
from anyteacher.normalization import normalize
from anyteacher.projectors import Projector
from anyteacher.regularizers import Regularizer


class Regularization(nn.Module):
    """A link without a teacher made real: its regularisers, for features of known widths.

    It stands among the connections of a distiller and is called as they are.

    Args:
        link: The description; its regulariser is copied for each level.
        student: The student's features of the probe, one a level.

    Raises:
        LayoutError: naming the link, when a feature's layout is not understood, or it has too few
            channels for the regulariser.
    """

    losses: nn.ModuleList

    def __init__(self, link: Link, student: Sequence[Source]) -> None:
        super().__init__()
        self.link = link
        self.layouts: list[Layout] = []
        self.losses = nn.ModuleList()
        try:
            for source in student:
                layout = _layout(link, source)
                regularizer = cast("Regularizer", copy.deepcopy(link.loss))
                # The distiller looks once a step at all losses, and knows the link and the step.
                regularizer.check_finite = False
                regularizer.build(channels(source.feature.shape, layout))
                self.layouts.append(layout)
                self.losses.append(regularizer)
        except AnyteacherError as error:
            raise link.blamed(error) from error
        self.to(student[0].feature.dtype)

    @property
    def projectors(self) -> list[Projector | None]:
        """None for each level: nothing is projected."""
        return [None] * len(self.layouts)

    def forward(
        self,
        student: Sequence[Source],
        teacher: Sequence[Source] = (),
        given: Mapping[str, Tensor | None] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss of the features, 0-dim, without the link's weight.

        Args:
            student: The student's features, one a level.
            teacher: None of them.
            given: Not needed.

        Raises:
            LayoutError: naming the link, when the features have another shape than the probe's, or
                too few rows.
        """
        try:
            features = self._formed(student)
            values = [loss(x) for loss, x in zip(self.losses, features, strict=True)]
        except AnyteacherError as error:
            raise self.link.blamed(error) from error
        return self.link.summed(values)

    @torch.no_grad()
    def compared(self, student: Sequence[Source], teacher: Sequence[Source] = ()) -> list[Compared]:
        """The features of each level as they are measured, without a history."""
        return [Compared(feature) for feature in self._formed(student)]

    def _formed(self, student: Sequence[Source]) -> list[Tensor]:
        return [
            normalize(source.formed(layout, self.link.compare), self.link.student_norm)
            for source, layout in zip(student, self.layouts, strict=True)
        ]


def _layout(link: Link, source: Source) -> Layout:
    """The layout that the link states, or the one found; tokens that fill no grid are a column."""
    layout = link.student_layout or detected(source)
    check(source.feature, layout, "the student's feature")
    if layout.kind != "tokens" or fills_grid(source.feature.shape, layout, source.image_size):
        return layout
    return replace(layout, grid=(source.feature.shape[1] - layout.prefix, 1))
