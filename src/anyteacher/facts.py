"""What a data set says of itself, for the task to be compared with before training starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from anyteacher.normalization import ImageNorm

IGNORE = 255
"""The label of pixels that no class has."""


@dataclass(frozen=True)
class Facts:
    """What is known of a data set without reading it; what is left out is not compared.

    Attributes:
        targets: The keys of a batch that something can be learned from.
        classes: The number of classes in each key that holds labels.
        max_depth: The largest depth in metres; beyond it depth counts as unknown.
        norm: Mean and standard deviation with which such images are usually normalised.
    """

    targets: tuple[str, ...] = ()
    classes: Mapping[str, int] = field(default_factory=dict)
    max_depth: float | None = None
    norm: ImageNorm = field(default_factory=ImageNorm)
