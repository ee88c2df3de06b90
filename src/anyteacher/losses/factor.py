"""Losses that compare factors: what small networks of each side make of its feature."""

import math
from itertools import pairwise
from typing import ClassVar, Literal, get_args

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import ConfigError
from anyteacher.losses.base import FeatureLoss, Scalar, chosen, comparable, full_precision
from anyteacher.losses.convolution import convolve, same_size
from anyteacher.normalization import unit_length

Power = Literal[1, 2]
_POWERS: tuple[Power, ...] = get_args(Power)
_SLOPE = 0.1  # of the leaky ReLU, from the authors


def factor_transfer(
    student: Float[Tensor, "b c *grid"], teacher: Float[Tensor, "b c *grid"], *, p: Power = 1
) -> Float[Tensor, ""]:
    """Mean over all elements of `|s / ||s|| - t / ||t|||^p`, each image's factor a unit vector.

    A factor of zeros stays zero, without a gradient.

    Args:
        student: The student's factor.
        teacher: The teacher's.
        p: 1 for absolute differences, 2 for squares.

    Source: Kim, Park and Kwak, "Paraphrasing Complex Network: Network Compression via Factor
    Transfer", NeurIPS 2018.

    >>> import torch
    >>> factor_transfer(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]]))
    tensor(0.4000)
    """
    chosen("factor_transfer", "p", p, _POWERS)
    student, teacher = comparable("factor_transfer", student, teacher)
    distance = F.l1_loss if p == 1 else F.mse_loss
    return distance(unit_length(student.flatten(1), 1), unit_length(teacher.flatten(1), 1))


@full_precision
def leaky_stack(
    x: Float[Tensor, "b c h w"], layers: nn.ModuleList, *, learn: bool = True
) -> Float[Tensor, "b d h w"]:
    """Convolutions, each with a leaky ReLU after it; with constant weights unless they learn."""
    for layer in layers:
        assert isinstance(layer, nn.Conv2d)
        x = F.leaky_relu(convolve(x, layer, learn=learn), _SLOPE)
    return x


class FactorTransfer(FeatureLoss):
    """Factor transfer: the student's translator is to match the teacher's paraphraser.

    Either is three 3x3 convolutions with leaky ReLUs, and makes a factor of fewer channels, so
    that the two features may differ in width. The authors train the paraphraser first, as the
    encoder of an autoencoder of the teacher's feature. Here that takes no stage of its own: in
    training the loss is

        factor_transfer(translator(s), encoder(t))
            + reconstruction * mean (decoder(encoder(t)) - t)^2,

    where the first term leaves the encoder as it is and the second changes the encoder and decoder
    alone. So `direction="none"` is the authors' method in one stage, and a projector on either
    side learns from the first term. In evaluation the loss is the first term.

    The authors weight the loss by 500 on CIFAR.

    Args:
        rate: Channels of a factor over those of the teacher's feature; positive. The authors' code
            has 0.5.
        p: See `factor_transfer`.
        reconstruction: Factor of the reconstruction error; positive. The default undoes the
            authors' weight of 500, with which the error would be too large a step for plain SGD.
    """

    equal_widths: ClassVar[bool] = False

    def __init__(self, rate: float = 0.5, p: Power = 1, reconstruction: float = 0.002) -> None:
        super().__init__()
        if not (0 < rate < math.inf and 0 < reconstruction < math.inf):
            raise ConfigError(
                "FactorTransfer needs a positive rate and reconstruction, got "
                f"{rate} and {reconstruction}."
            )
        self.rate, self.reconstruction = rate, reconstruction
        self.p = chosen("FactorTransfer", "p", p, _POWERS)

    def build(
        self, student_width: int, teacher_width: int, teacher: nn.Module | None = None
    ) -> None:
        """Makes the translator, and the paraphraser: the encoder and its decoder."""
        factor = max(1, round(self.rate * teacher_width))
        self.translator = _layers(student_width, student_width, factor, factor)
        self.encoder = _layers(teacher_width, teacher_width, factor, factor)
        self.decoder = _layers(factor, factor, teacher_width, teacher_width)

    def forward(
        self, student: Float[Tensor, "b c *grid"], teacher: Float[Tensor, "b d *grid"]
    ) -> Scalar:
        """See the class."""
        student, teacher = comparable("FactorTransfer", student, teacher, widths=False)
        if student.ndim == 2:  # a vector is a map of one position
            student, teacher = student[:, :, None, None], teacher[:, :, None, None]
        mine = leaky_stack(student, self.translator)
        if not self.training:
            theirs = leaky_stack(teacher, self.encoder, learn=False)
            return factor_transfer(mine, theirs, p=self.p)
        constant = teacher.detach()
        code = leaky_stack(constant, self.encoder)
        error = F.mse_loss(leaky_stack(code, self.decoder), constant)
        # Without a projector to reach, the factor is the code that was just computed.
        projected = teacher.requires_grad
        theirs = leaky_stack(teacher, self.encoder, learn=False) if projected else code.detach()
        return factor_transfer(mine, theirs, p=self.p) + self.reconstruction * error


def _layers(*widths: int) -> nn.ModuleList:
    return nn.ModuleList(same_size(before, after) for before, after in pairwise(widths))
