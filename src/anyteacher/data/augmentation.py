"""Which part of a picture is seen, and how that varies: the geometry, before any pixel is moved."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Literal

import numpy as np

from anyteacher.errors import ConfigError, did_you_mean

Fit = Literal["crop", "pad"]

_ATTEMPTS = 10  # at a part of a picture of a drawn area and shape that fits into it


@dataclass(frozen=True)
class Augmentation:
    """What varies from one sight of a training picture to the next.

    Args:
        zoom: Least and most that the picture is enlarged, 1 being the view of validation. A factor
            is drawn evenly; below 1, the view is filled up.
        area: In place of a zoom, the least and largest share of the picture that is seen, drawn
            evenly (Szegedy et al., CVPR 2015).
        ratio: With an area, the narrowest and widest shape of that part, width by height, as a
            multiple of the view's; drawn evenly in the logarithm. Other than 1, it is stretched.
        flip: How likely the picture is mirrored.
        color: Brightness, contrast and saturation are each multiplied by a factor between 1 minus
            and 1 plus this.

    Raises:
        ConfigError: when a setting is impossible.
    """

    zoom: tuple[float, float] | None = None
    area: tuple[float, float] | None = None
    ratio: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.5
    color: float = 0.0

    def __post_init__(self) -> None:
        if self.zoom and self.area:
            raise ConfigError(f"Give a zoom or an area, not both: {self.zoom} and {self.area}.")
        for name in ("zoom", "area", "ratio"):
            ends = getattr(self, name)
            if ends and not 0 < ends[0] <= ends[1]:
                raise ConfigError(f"{name} needs two positive numbers in order, got {ends}.")
        if self.area and self.area[1] > 1:
            raise ConfigError(f"No more than the whole picture (1) can be seen, got {self.area}.")
        if not self.area and self.ratio != (1, 1):
            raise ConfigError(f"The ratio {self.ratio} needs an area, from 0 to 1, beside it.")
        if not (0 <= self.flip <= 1 and 0 <= self.color < 1):
            raise ConfigError(
                f"flip lies in [0, 1] and color in [0, 1), got {self.flip} and {self.color}."
            )


def check_kept(augmentation: Augmentation | None, targets: Sequence[str]) -> None:
    """Refuses an augmentation that would make the targets wrong.

    Args:
        augmentation: What varies, if anything.
        targets: The keys of a sample that something is learned from.

    Raises:
        ConfigError: when it stretches pictures with `normals`, or varies the colours of those that
            a `target` is to be made of.
    """
    if augmentation is None:
        return
    if "normals" in targets and augmentation.ratio != (1, 1):
        raise ConfigError(
            "Normals do not survive that a picture is stretched. Leave the augmentation's ratio at "
            f"(1, 1); got {augmentation.ratio}."
        )
    if "target" in targets and augmentation.color:
        raise ConfigError(
            "Colours that vary would part an image from the one to be made of it. Leave the "
            f"augmentation's color at 0; got {augmentation.color}."
        )


@dataclass(frozen=True)
class View:
    """Where a part of a picture comes to lie in a picture of another size.

    Attributes:
        part: The part of the picture that is seen: top, left, height, width, in pixels.
        size: Height and width of the view.
        spot: Where the part comes to lie in the view, likewise; what is around it is filled.
        zoom: How much nearer everything looks than in the view of validation.
        mirrored: Whether left and right are exchanged, of the whole view.
        color: Factors of brightness, contrast and saturation.
    """

    part: tuple[int, int, int, int]
    size: tuple[int, int]
    spot: tuple[int, int, int, int]
    zoom: float = 1.0
    mirrored: bool = False
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def extent(self, whole: Sequence[int]) -> tuple[int, int, int, int]:
        """Where a box of the picture lies in the view, if that is not mirrored.

        Args:
            whole: Top, left, height, width in pixels of the picture; it may be larger than that.

        Returns:
            Likewise in pixels of the view, whole ones.

        >>> fixed_view((100, 200), (50, 50), "crop").extent((0, 0, 100, 200))
        (0, -25, 50, 100)
        """
        scales = [self.spot[i + 2] / self.part[i + 2] for i in range(2)]
        top, left = (self.spot[i] + (whole[i] - self.part[i]) * scales[i] for i in range(2))
        height, width = (whole[i + 2] * scales[i] for i in range(2))
        return round(top), round(left), round(height), round(width)


def check_view(size: tuple[int, int], fit: str) -> None:
    """Refuses a size or a way to fit that cannot be.

    Raises:
        ConfigError: then.
    """
    if min(size) < 1:
        raise ConfigError(f"A view needs a positive size, got {size[0]} x {size[1]}.")
    if fit not in ("crop", "pad"):
        raise ConfigError(f"No way to fit '{fit}'. {did_you_mean(fit, ('crop', 'pad'))}")


def fixed_view(picture: tuple[int, int], size: tuple[int, int], fit: Fit) -> View:
    """The view of validation: the middle of the picture, or the whole.

    Args:
        picture: Height and width of the picture.
        size: Height and width of the view.
        fit: `crop`: the largest part of the view's shape; `pad`: all of it, with bars.

    >>> fixed_view((100, 200), (50, 50), "crop").part
    (0, 50, 100, 100)
    >>> fixed_view((100, 200), (50, 50), "pad").spot
    (12, 0, 25, 50)
    """
    part, spot = _zoomed(picture, size, _scale(picture, size, fit))
    top, left = ((picture[i] - part[i]) // 2 for i in range(2))
    at = [(size[i] - spot[i]) // 2 for i in range(2)]
    return View((top, left, *part), size, (at[0], at[1], *spot))


def drawn_view(
    picture: tuple[int, int],
    size: tuple[int, int],
    fit: Fit,
    augmentation: Augmentation,
    random: np.random.Generator,
) -> View:
    """A view that varies as the augmentation says; the other arguments as in `fixed_view`."""
    if augmentation.area:
        part, spot = _part_of_area(picture, size, augmentation, random), size
    else:
        zoom = random.uniform(*augmentation.zoom) if augmentation.zoom else 1.0
        part, spot = _zoomed(picture, size, zoom * _scale(picture, size, fit))
    top, left = (int(random.integers(picture[i] - part[i] + 1)) for i in range(2))
    down, right = (int(random.integers(size[i] - spot[i] + 1)) for i in range(2))
    scale = sqrt(spot[0] * spot[1] / (part[0] * part[1]))
    usual = fixed_view(picture, size, fit)
    _, _, *seen = usual.part
    _, _, *filled = usual.spot
    mirrored = bool(random.random() < augmentation.flip)
    color = 1 + augmentation.color * random.uniform(-1, 1, 3)
    return View(
        (top, left, *part),
        size,
        (down, right, *spot),
        scale / sqrt(filled[0] * filled[1] / (seen[0] * seen[1])),
        mirrored,
        (float(color[0]), float(color[1]), float(color[2])),
    )


def _scale(picture: tuple[int, int], size: tuple[int, int], fit: Fit) -> float:
    """Pixels of the view for a pixel of the picture."""
    scales = size[0] / picture[0], size[1] / picture[1]
    return max(scales) if fit == "crop" else min(scales)


def _zoomed(
    picture: tuple[int, int], size: tuple[int, int], scale: float
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width of the part that is seen at a scale, in the picture and in the view."""
    part, spot = [], []
    for whole, room in zip(picture, size, strict=True):
        if whole * scale >= room:
            part.append(min(whole, max(1, round(room / scale))))
            spot.append(room)
        else:
            part.append(whole)
            spot.append(min(room, max(1, round(whole * scale))))
    return (part[0], part[1]), (spot[0], spot[1])


def _part_of_area(
    picture: tuple[int, int],
    size: tuple[int, int],
    augmentation: Augmentation,
    random: np.random.Generator,
) -> tuple[int, int]:
    """Height and width of a part of a drawn area and shape; the largest where none fits."""
    pixels, shape = picture[0] * picture[1], size[1] / size[0]
    least, most = augmentation.area or (1.0, 1.0)
    for _ in range(_ATTEMPTS):
        area = random.uniform(least, most) * pixels
        ratio = shape * exp(random.uniform(log(augmentation.ratio[0]), log(augmentation.ratio[1])))
        part = max(1, round(sqrt(area / ratio))), max(1, round(sqrt(area * ratio)))
        if part[0] <= picture[0] and part[1] <= picture[1]:
            return part
    return _zoomed(picture, size, _scale(picture, size, "crop"))[0]
