"""Training images that are made of two, with the classes of both."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from anyteacher.window import Window


def beta(alpha: float) -> float:
    """A number in [0, 1], near its ends for a small alpha: one draw of Beta(alpha, alpha).

    From torch's global generator on the CPU, as all draws here: training seeds it for every step,
    so that a resumed run mixes alike.
    """
    # G / (G + H) of two draws of Gamma(alpha). For a small alpha both are often nearer to zero than
    # numbers go, so by their logarithms: Gamma(alpha) is Gamma(alpha + 1) U^(1 / alpha).
    shape = torch.tensor([alpha, alpha], dtype=torch.float64)
    gammas = torch.distributions.Gamma(shape + 1, 1.0).sample().log()
    powers = (1 - torch.rand(2, dtype=torch.float64)).log()  # of numbers in (0, 1]
    return float((gammas.diff() + powers.diff() / alpha).sigmoid())


def mixup(
    images: Float[Tensor, "b c h w"], others: Float[Tensor, "b c h w"], share: float
) -> Float[Tensor, "b c h w"]:
    """`share` of each image and the rest of the other (Zhang et al., "mixup", ICLR 2018)."""
    return share * images + (1 - share) * others


def cutmix(
    images: Float[Tensor, "b c h w"],
    others: Float[Tensor, "b c h w"],
    share: float,
    margin: int = 0,
) -> tuple[Float[Tensor, "b c h w"], float]:
    """Each image with a box of the other in it (Yun et al., "CutMix", ICCV 2019).

    The box has the shape of the image and 1 - `share` of its area. Its centre may lie anywhere, and
    what is beyond the border is cut off.

    Args:
        images: those.
        others: the other of each.
        share: how much of the images should be left, if nothing is cut off.
        margin: pixels on each side that do not count as the image: there is no box in them.

    Returns:
        The images, and the share that is left of them within the margin.

    Raises:
        ConfigError: when the margin leaves nothing.
    """
    view = Window.middle((images.shape[-2], images.shape[-1]), margin)
    side = math.sqrt(1 - share)
    ends = []
    for length in (view.height, view.width):
        extent = round(side * length)
        start = int(torch.randint(length, ())) - extent // 2
        ends.append((max(0, start), min(length, start + extent)))
    (top, bottom), (left, right) = ends
    mixed = images.clone()
    box = (..., slice(top, bottom), slice(left, right))
    view.crop(mixed)[box] = view.crop(others)[box]
    return mixed, 1 - (bottom - top) * (right - left) / (view.height * view.width)


def mixed(
    images: Float[Tensor, "b c h w"],
    labels: Int[Tensor, " b"],
    classes: int,
    alphas: tuple[float, float],
    margin: int = 0,
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b classes"]]:
    """A batch mixed with itself in another order, and the share of each class.

    Args:
        images: of any size.
        labels: their classes.
        classes: how many there are.
        alphas: of `mixup` and `cutmix`, 0 for one that is not used. Where both are, a fair coin
            decides for the batch.
        margin: pixels on each side that the shares do not count.
    """
    by_cutting = alphas[0] == 0 or (alphas[1] > 0 and bool(torch.rand(()) < 0.5))
    share = beta(alphas[by_cutting])
    order = torch.randperm(len(images)).to(images.device)
    if by_cutting:
        images, share = cutmix(images, images[order], share, margin)
    else:
        images = mixup(images, images[order], share)
    codes = F.one_hot(labels, classes).to(images.dtype)
    return images, share * codes + (1 - share) * codes[order]
