"""Predictions for a folder of ordinary images."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import DataError
from anyteacher.images import find_images, read_image
from anyteacher.training import TrainingModule

# Weights of red, green and blue in the brightness of a picture (ITU-R BT.601).
_LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]


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


def predict_folder(
    module: TrainingModule, images: Path, output: Path, *, channels: int, resolution: int
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
        prediction = predict(module, image, resolution)
        relative = path.relative_to(root)
        # The suffix stays in the name: a.png and a.jpg must not overwrite each other's results.
        stem = output / relative.with_name(f"{relative.stem}_{relative.suffix[1:]}")
        stem.parent.mkdir(parents=True, exist_ok=True)
        yield Prediction(path, tuple(module.task.save(prediction, stem)))


@torch.no_grad()
def predict(module: TrainingModule, image: Float[Tensor, "c h w"], resolution: int) -> Tensor:
    """The prediction for one image in [0, 1], at its own size."""
    height, width = image.shape[1:]
    batch = image[None].to(next(module.parameters()).device)
    if resolution:
        scale = resolution / min(height, width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        batch = F.interpolate(batch, size, mode="bilinear", antialias=True).clamp(0, 1)
    result: Tensor = module.task.prediction(module(batch), (height, width))
    return result[0].cpu()
