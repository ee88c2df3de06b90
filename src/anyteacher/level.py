"""One pair of features: where they come from, and how they are laid out."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from anyteacher.errors import LayoutError, TapError
from anyteacher.layout import (
    Compare,
    Layout,
    Size,
    channels,
    check,
    detect,
    fills_grid,
    to_map,
    to_vector,
)
from anyteacher.link import Link
from anyteacher.window import Part


class Source(NamedTuple):
    """A feature (any layout), where it came from, and how large the images were.

    Attributes:
        feature: The tensor behind a tap.
        image_size: Height and width of the model's input.
        module: What gave it, where that is known: in a probe, for the output of a module.
        part: Where the student's view lies in a teacher's images; None for all of them.
    """

    feature: Tensor
    image_size: Size
    module: nn.Module | None = None
    part: Part | None = None

    def formed(self, layout: Layout, compare: Compare) -> Tensor:
        """The feature as the map (B, C, H, W) or vector (B, C) that is compared.

        Raises:
            LayoutError: when the layout is not the feature's.
        """
        check(self.feature, layout, "a feature")
        if compare == "pooled" or layout.kind == "vector":
            return to_vector(self.feature, layout)
        return to_map(self.feature, layout, self.image_size)


class Compared(NamedTuple):
    """A pair of features as a link compares them: (B, C, *grid), normalised, on one grid.

    Attributes:
        student: The student's, before any projection.
        teacher: The teacher's, likewise; None in a link without a teacher.
    """

    student: Tensor
    teacher: Tensor | None = None


@dataclass(frozen=True)
class Level:
    """The layouts of one pair of features."""

    student: Layout
    teacher: Layout

    @classmethod
    def found(cls, link: Link, student: Source, teacher: Source) -> "Level":
        """The layouts that the link states, and those found of the rest.

        Raises:
            LayoutError: when the two features cannot be compared as the link says.
        """
        level = cls(
            link.student_layout or detected(student), link.teacher_layout or detected(teacher)
        )
        check(student.feature, level.student, "the student's feature")
        check(teacher.feature, level.teacher, "the teacher's feature")
        return level if link.compare == "pooled" else level._with_positions(student, teacher)

    def _with_positions(self, student: Source, teacher: Source) -> "Level":
        kinds = (self.student.kind, self.teacher.kind)
        if kinds.count("vector") == 1:
            raise LayoutError(
                f"a {kinds[0]} of shape {tuple(student.feature.shape)} (student) and a {kinds[1]} "
                f"of shape {tuple(teacher.feature.shape)} (teacher) have no positions in common. "
                'Use compare="pooled", or tap an earlier module where the vector is.'
            )
        sides = [(student, self.student), (teacher, self.teacher)]
        if all(fills_grid(source.feature.shape, layout, source[1]) for source, layout in sides):
            return self
        # Tokens that fill no grid can still be compared one by one, as a column.
        counts = [source.feature.shape[1] - layout.prefix for source, layout in sides]
        if kinds != ("tokens", "tokens") or counts[0] != counts[1]:
            raise LayoutError(
                f"features of shape {tuple(student.feature.shape)} (student) and "
                f"{tuple(teacher.feature.shape)} (teacher): no grid was found that fills the "
                'tokens. Use compare="pooled", or state the layout: '
                "Layout('tokens', prefix=…, grid=(rows, columns))."
            )
        column = (counts[0], 1)
        return Level(replace(self.student, grid=column), replace(self.teacher, grid=column))

    def widths(self, student: Source, teacher: Source) -> tuple[int, int]:
        """Channels of the student's feature and of the teacher's."""
        return (
            channels(student.feature.shape, self.student),
            channels(teacher.feature.shape, self.teacher),
        )


def detected(source: Source) -> Layout:
    """The layout found, its grid left open: later images may have another size or proportion."""
    return replace(detect(source.feature.shape, source.image_size, source.module), grid=None)


def size_of(images: Any) -> Size:
    """Height and width of a batch of images.

    Raises:
        TapError: when it is no batch of images, or one of whole numbers.
    """
    if not isinstance(images, Tensor):
        raise TapError(
            f"Images of shape (B, C, H, W) are needed, got a {type(images).__name__}. Of batches "
            "of images and targets give the images: (images for images, _ in loader)."
        )
    if images.ndim != 4:
        raise TapError(
            f"Images of shape (B, C, H, W) are needed, got a tensor of shape {tuple(images.shape)}."
        )
    if not images.is_floating_point():
        raise TapError(
            f"Images of a floating-point type are needed, got {images.dtype}. Divide bytes by 255: "
            "images / 255."
        )
    return images.shape[2], images.shape[3]
