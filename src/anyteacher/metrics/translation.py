"""Metrics of a picture that should equal another."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.image import structural_similarity_index_measure

from anyteacher.errors import DataError

_WINDOW = 11  # pixels across, of the structural similarity


class TranslationMetrics(Metric):
    """Peak signal-to-noise ratio and structural similarity: of each image, then their mean.

    `psnr` in decibels is -10 log10 of the mean squared difference of all values of an image, of the
    known ones where some are not; infinite where an image is met exactly. `ssim` is that of Wang,
    Bovik, Sheikh and Simoncelli (IEEE TIP 2004): Gaussian windows of 11 pixels with a deviation of
    1.5, K1 0.01, K2 0.03, the mean over colours and over the windows that lie within the image, or
    within what is known of it. An image of which nothing is known does not count.
    """

    full_state_update = False
    total: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        zeros = torch.zeros(2, dtype=torch.float64)
        self.add_state("total", zeros, dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(
        self, prediction: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]
    ) -> None:
        """Adds a batch; both in [0, 1], the target NaN where it is not known.

        Raises:
            DataError: when the pictures, or what is known of one, are smaller than a window.
        """
        height, width = target.shape[-2:]
        known = ~target.isnan()
        some = known.flatten(1).any(1)
        prediction, target, known = prediction[some], target[some], known[some]
        if min(height, width) < _WINDOW:
            raise DataError(
                f"The structural similarity needs pictures of {_WINDOW} x {_WINDOW} pixels or "
                f"more, but these have {height} x {width}. Use larger ones."
            )
        if len(target) == 0:
            return
        p, g = (torch.where(known, picture.double(), 0.0) for picture in (prediction, target))
        squares = (p - g).square().sum((1, 2, 3)) / known.sum((1, 2, 3))
        psnr = -10 * squares.log10()
        # In single precision, as usually measured: in double a CPU takes thirty times as long.
        _, similar = structural_similarity_index_measure(
            p.float(),
            g.float(),
            data_range=1.0,
            kernel_size=_WINDOW,
            reduction="none",
            return_full_image=True,
        )
        # Around the image its mirror image was put, and there versions of torchmetrics differ.
        edge = _WINDOW // 2
        similar = similar[..., edge:-edge, edge:-edge].double()
        whole = -F.max_pool2d(-known.double(), _WINDOW, stride=1)  # windows without an unknown
        if not whole.flatten(1).any(1).all():
            raise DataError(
                f"The structural similarity needs {_WINDOW} x {_WINDOW} pixels that are known, "
                "which a picture does not have. Use larger ones."
            )
        ssim = (similar * whole).sum((1, 2, 3)) / whole.sum((1, 2, 3))
        self.total += torch.stack([psnr.sum(), ssim.sum()])
        self.images += len(target)

    def compute(self) -> dict[str, Tensor]:
        """`psnr` and `ssim`.

        Raises:
            DataError: when there was no image.
        """
        if self.images == 0:
            raise DataError("There was no image to measure.")
        psnr, ssim = self.total / self.images
        return {"psnr": psnr, "ssim": ssim}
