"""Predictions for a folder of ordinary images."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from anyteacher.errors import DataError
from anyteacher.images import find_images, read_image
from anyteacher.training import TrainingModule

# Weights of red, green and blue in the brightness of a picture (ITU-R BT.601).
_LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]

# The largest stride that is usual: beyond it, sides in common with training have no effect.
_STRIDE = 32


@dataclass(frozen=True)
class Prediction:
    """What came of one image.

    Attributes:
        image: The image's path.
        files: What was written; empty where the image could not be read.
        problem: Why it could not be read, or empty.
    """

    image: Path
    files: tuple[Path, ...] = ()
    problem: str = ""


def step_of(size: Sequence[int]) -> int:
    """What sides of images have to be multiples of, to fit a student's strides as in training.

    Args:
        size: Height and width of the training images.

    >>> step_of((64, 64)), step_of((480, 640)), step_of((8, 8))
    (32, 32, 8)
    """
    return math.gcd(*size, _STRIDE)


def predict_folder(
    module: TrainingModule,
    images: Path,
    output: Path,
    *,
    channels: int,
    resolution: int,
    step: int,
) -> Iterator[Prediction]:
    """Predicts every image of a folder and writes the result at the image's own size.

    An image that cannot be read is reported, and the rest goes on.

    Args:
        module: Task and trained student.
        images: A folder with images of any size, or one image.
        output: A folder for the results, named after the images.
        channels: Channels of the training images: 3, or 1 for grey ones.
        resolution: Length in pixels to which the shorter side is resized before the student sees
            the image, its proportions kept: that of the training images. 0 for the own size.
        step: What both sides are filled up to a multiple of; see `predict`.

    Raises:
        DataError: when there is no such folder, or no image in it.
    """
    root = images if images.is_dir() else images.parent
    module.eval()
    for path in find_images(images):
        try:
            image = read_image(path)
        except DataError as error:
            yield Prediction(path, problem=str(error))
            continue
        if channels == 1:
            image = (image * _LUMA).sum(0, keepdim=True)
        prediction = predict(module, image, resolution, step)
        relative = path.relative_to(root)
        # The suffix stays in the name: a.png and a.jpg must not overwrite each other's results.
        stem = output / relative.with_name(f"{relative.stem}_{relative.suffix[1:]}")
        stem.parent.mkdir(parents=True, exist_ok=True)
        yield Prediction(path, tuple(module.task.save(prediction, stem)))


@torch.no_grad()
def predict(
    module: TrainingModule, image: Float[Tensor, "c h w"], resolution: int, step: int
) -> Tensor:
    """The prediction for one image in [0, 1], at its own size.

    A side that the student's strides do not divide makes its last windows reach over the border,
    where training, at sizes that they divide, never had any: what it draws there is false. So for
    a dense task the image is continued as in a mirror, to the right and below, until both sides
    are multiples of the step, and the prediction is cut back to the image.

    Args:
        module: Task and trained student.
        image: Of one or three channels.
        resolution: Length in pixels to which the shorter side is resized; 0 for the own size.
        step: That of `step_of` for the training images; a global task does without.
    """
    height, width = image.shape[1:]
    scale = resolution / min(height, width) if resolution else 1.0
    step = step if module.task.kind == "dense" else 1
    rows, new_height, whole_height = _filled(height, scale, step)
    columns, new_width, whole_width = _filled(width, scale, step)
    batch = image[:, rows[:, None], columns][None].to(next(module.parameters()).device)
    if batch.shape[-2:] != (new_height, new_width):
        size = (new_height, new_width)
        batch = F.interpolate(batch, size, mode="bilinear", antialias=True).clamp(0, 1)
    result: Tensor = module.task.prediction(module(batch), (whole_height, whole_width))
    return (result[..., :height, :width] if module.task.kind == "dense" else result)[0].cpu()


def _filled(side: int, scale: float, step: int) -> tuple[Int[Tensor, " whole"], int, int]:
    """A side that is filled up so that it becomes a multiple of the step once it is scaled.

    Returns:
        Where in the image its pixels come from, its scaled length, and its length before that.

    >>> _filled(3, 2.0, 8)
    (tensor([0, 1, 2, 1]), 8, 4)
    """
    wanted = max(1, round(side * scale))
    scaled = step * math.ceil(wanted / step)
    whole = side if scaled == wanted else round(scaled / scale)
    period = max(1, 2 * (side - 1))  # there and back again
    places = torch.arange(whole) % period
    return torch.minimum(places, period - places), scaled, whole
