"""What the tasks have in common that make a picture of an image."""

from abc import ABC
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from anyteacher import images, pictures
from anyteacher.errors import DataError
from anyteacher.tasks.base import Batch, Task


class PictureTask(Task, ABC):
    """A picture of three colours in [0, 1], made of the image."""

    kind = "dense"

    def __init__(self) -> None:
        super().__init__(out_channels=3)

    def draw(
        self, values: Float[Tensor, "b 3 h w"], like: Tensor | None = None
    ) -> UInt8[Tensor, "b 3 h w"]:
        """The pictures themselves."""
        del like  # colours have a scale of their own
        return pictures.image(values)

    def save(self, prediction: Float[Tensor, "3 h w"], stem: Path) -> list[Path]:
        """Writes `<stem>_translated.png`."""
        return [images.write_image(self.draw(prediction[None])[0], Path(f"{stem}_translated.png"))]

    def picture_of(self, batch: Batch) -> Float[Tensor, "b 3 h w"]:
        """The target in a batch; what is not known of it may be NaN.

        Raises:
            DataError: when it is not there, has another shape, or colours outside of [0, 1].
        """
        picture = self.target_of(batch, "batch", 3, "height", "width")
        if not torch.compiler.is_compiling() and ((picture < 0) | (picture > 1)).any():
            known = picture[~picture.isnan()]
            raise DataError(
                f"'{self.target}' must hold colours in [0, 1], but goes from {known.min()} to "
                f"{known.max()}. Divide values of 8 bits by 255."
            )
        return picture
