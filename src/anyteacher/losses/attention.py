"""Losses that compare where in the image the features are strong."""

import math
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses.base import Feature, FeatureLoss, Form, Scalar, chosen, comparable

Distance = Literal["squared", "norm"]
_DISTANCES: tuple[Distance, ...] = get_args(Distance)


def flat_maps(
    name: str, student: Tensor, teacher: Tensor, *, widths: bool = True, grids: bool = True
) -> tuple[Float[Tensor, "b c n"], Float[Tensor, "b d m"]]:
    """Both maps with their positions in a row, once it is known that they can be compared.

    Args:
        name: Of the loss, for the message.
        student: The student's map (B, C, H, W).
        teacher: The teacher's (B, D, I, J).
        widths: Whether they must have the same number of channels.
        grids: Whether they must have the same grid.

    Raises:
        LayoutError: as `comparable` does, and for vectors.
    """
    student, teacher = comparable(name, student, teacher, widths=widths, grids=grids)
    if min(student.ndim, teacher.ndim) < 3:
        raise LayoutError(
            f"{name} compares positions of maps (B, C, H, W), and a vector has none: got "
            f"{tuple(student.shape)} from the student and {tuple(teacher.shape)} from the teacher. "
            "Give it features from before the pooling."
        )
    return student.flatten(2), teacher.flatten(2)


def attention_transfer(
    student: Float[Tensor, "b c h w"],
    teacher: Float[Tensor, "b d h w"],
    *,
    distance: Distance = "squared",
) -> Float[Tensor, ""]:
    """Difference of the attention maps, one number a position; the widths may be unequal.

    The map of an image is `q = a / ||a||`, with `a` the mean over the channels of the squared
    feature, flattened to (H W). With `squared` the loss is the mean over images and positions of
    `(q_s - q_t)^2`; with `norm` it is the mean over images of `||q_s - q_t||`.

    The map of a single position is 1 whatever the feature: there the loss is 0 and teaches
    nothing. The map of a feature of zeros is zero.

    >>> attention_transfer(torch.tensor([[[[2.0, 0.0]]]]), torch.tensor([[[[0.0, 1.0]]]]))
    tensor(1.)

    Source: Zagoruyko and Komodakis, "Paying More Attention to Attention: Improving the Performance
    of Convolutional Neural Networks via Attention Transfer", ICLR 2017.
    """
    chosen("attention_transfer", "distance", distance, _DISTANCES)
    mine, theirs = flat_maps("attention_transfer", student, teacher, widths=False)
    difference = _attention(mine) - _attention(theirs)
    if distance == "norm":
        lengths: Tensor = torch.linalg.vector_norm(difference, dim=1)  # gradient 0 at equality
        return lengths.mean()
    return difference.square().mean()


def _attention(x: Float[Tensor, "b c n"]) -> Float[Tensor, "b n"]:
    # As a product, and divided after the sum: the backward pass is then the shortest.
    return F.normalize((x * x).sum(1) / x.shape[1], dim=1)


def channel_wise(
    student: Float[Tensor, "b c h w"],
    teacher: Float[Tensor, "b c h w"],
    *,
    temperature: float = 4.0,
) -> Float[Tensor, ""]:
    """Divergence of the distributions over positions, channel by channel.

    `T^2 / (B C) sum_bc KL(softmax(t_bc / T) || softmax(s_bc / T))`, the softmax over the positions
    of one channel of one image. With a single position the loss is 0.

    >>> even, sharp = torch.zeros(1, 1, 1, 2), torch.tensor([[[[200.0, 0.0]]]])
    >>> channel_wise(even, sharp, temperature=1.0)  # log 2
    tensor(0.6931)

    Source: Shu, Liu, Gao, Yan and Shen, "Channel-wise Knowledge Distillation for Dense
    Prediction", ICCV 2021.
    """
    mine, theirs = flat_maps("channel_wise", student, teacher)
    # With both sides as logarithms, a probability that underflows gives no NaN on either.
    log_s, log_t = (F.log_softmax(x / temperature, dim=2) for x in (mine, theirs))
    summed = F.kl_div(log_s, log_t, reduction="sum", log_target=True)
    return temperature**2 / (mine.shape[0] * mine.shape[1]) * summed


class AT(FeatureLoss):
    """Attention transfer: the student is to look where the teacher looks.

    Channels are not compared one by one, so that it needs no projector.

    Source: Zagoruyko and Komodakis, ICLR 2017. Their weight is 1000 for `squared`, the form of
    their code; `norm` is the form of the paper.

    Args:
        distance: `squared` for the mean squared difference of the maps, `norm` for the mean
            length of the difference.
    """

    form: ClassVar[Form] = "positions"
    equal_widths: ClassVar[bool] = False
    because: ClassVar[str] = "it compares where in the image the features are strong"

    def __init__(self, distance: Distance = "squared") -> None:
        super().__init__()
        self.distance = chosen("AT", "distance", distance, _DISTANCES)

    def forward(self, student: Feature, teacher: Float[Tensor, "b d *grid"]) -> Scalar:
        """See `attention_transfer`."""
        return attention_transfer(student, teacher, distance=self.distance)


class CWD(FeatureLoss):
    """Channel-wise distillation: each channel is to be strong where its counterpart is.

    Source: Shu et al., ICCV 2021, with temperature 4 and, for the maps of logits, weight 3.

    Args:
        temperature: Divides the features before the softmax; positive. A higher one looks at
            more than the strongest position.
    """

    form: ClassVar[Form] = "positions"
    because: ClassVar[str] = "it compares how each channel is distributed over the positions"

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        if not 0 < temperature < math.inf:
            raise ConfigError(f"CWD needs a positive, finite temperature, got {temperature}.")
        self.temperature = temperature

    def forward(self, student: Feature, teacher: Feature) -> Scalar:
        """See `channel_wise`."""
        return channel_wise(student, teacher, temperature=self.temperature)
