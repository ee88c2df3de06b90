"""Losses that compare how similar the images of a batch are to each other."""

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError
from anyteacher.losses.base import (
    BatchLoss,
    Images,
    Scalar,
    chosen,
    comparable,
    full_precision,
    whole,
)
from anyteacher.losses.gram import (
    check_images,
    cosines,
    flat,
    gram,
    inverse_root,
    not_negative,
)

Congruence = Literal["kernel", "neighbours"]
_CONGRUENCES: tuple[Congruence, ...] = get_args(Congruence)


@full_precision
def similarity_preserving(
    student: Float[Tensor, "b c *grid"], teacher: Float[Tensor, "b d *other"]
) -> Float[Tensor, ""]:
    """`||G_s - G_t||_F^2 / B^2` of the Gram matrices of the flattened features.

    `G = X X^T` (B, B), each row divided by its L2 norm. A row of zeros, from an image whose
    feature is zero, stays zero and has no gradient. Widths and grids may differ.

    Source: Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019.

    >>> apart = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> similarity_preserving(apart, 5 * apart)
    tensor(0.)
    >>> similarity_preserving(apart, torch.tensor([[3.0], [3.0]])).round(decimals=4)
    tensor(0.2929)

    Raises:
        LayoutError: for fewer than two images: the similarity of one to itself is always 1.
    """
    student, teacher = comparable(
        "similarity_preserving", student, teacher, widths=False, grids=False
    )
    check_images("similarity_preserving", len(student), 2)
    return F.mse_loss(_unit_rows(gram(flat(student))), _unit_rows(gram(flat(teacher))))


@full_precision
def pkt(
    student: Float[Tensor, "b c *grid"], teacher: Float[Tensor, "b d *other"], *, eps: float = 1e-7
) -> Float[Tensor, ""]:
    """Divergence of the probabilities with which images are each other's neighbours.

    `mean_ij t_ij log((t_ij + eps) / (s_ij + eps))` over all B^2 pairs, where a row of s or t is
    `(1 + cos(x_i, x_j)) / 2` divided by its sum over j. Widths and grids may differ.

    Source: Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge
    Transfer", ECCV 2018.

    >>> apart = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> pkt(apart, 5 * apart)
    tensor(0.)
    >>> pkt(apart, torch.tensor([[3.0], [3.0]])).round(decimals=4)
    tensor(0.0294)

    Raises:
        LayoutError: for fewer than two images: one has no neighbour.
    """
    student, teacher = comparable("pkt", student, teacher, widths=False, grids=False)
    check_images("pkt", len(student), 2)
    mine, theirs = _neighbourhoods(student), _neighbourhoods(teacher)
    return (theirs * ((theirs + eps) / (mine + eps)).log()).mean()


@full_precision
def correlation_congruence(
    student: Float[Tensor, "b c *grid"],
    teacher: Float[Tensor, "b d *other"],
    *,
    gamma: float = 0.4,
    order: int = 2,
    by: Congruence = "kernel",
) -> Float[Tensor, ""]:
    """Difference of the correlations between images.

    `kernel`, the paper's: `||K_s - K_t||_F^2 / B^2` of Gaussian kernels `exp(-gamma |x_i - x_j|^2)`
    of flattened features of unit length, by their Taylor series up to `order` in the cosine:
    `K_ij = exp(-2 gamma) sum_p (2 gamma)^p / p! cos(x_i, x_j)^p`. Widths and grids may differ.

    `neighbours`, the simpler form of the authors' code: the mean over pairs of images that follow
    each other in the batch of `sum |s_i - t_i| |s_{i+1} - t_{i+1}|` over the elements, which must
    be as many on both sides. `gamma` and `order` play no part.

    Source: Peng, Jin, Liu, Li, Wu, Liu, Zhou and Zhang, "Correlation Congruence for Knowledge
    Distillation", ICCV 2019.

    >>> apart = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> correlation_congruence(apart, 5 * apart)
    tensor(0.)
    >>> correlation_congruence(apart, torch.tensor([[3.0], [3.0]])).round(decimals=4)
    tensor(0.1266)

    Raises:
        LayoutError: for fewer than two images, which have no correlation.
        ConfigError: for an unknown form.
    """
    chosen("correlation_congruence", "by", by, _CONGRUENCES)
    equal = by == "neighbours"
    student, teacher = comparable(
        "correlation_congruence", student, teacher, widths=equal, grids=equal
    )
    check_images("correlation_congruence", len(student), 2)
    if equal:
        apart = (student - teacher).abs().flatten(1)
        return (apart[:-1] * apart[1:]).sum(1).mean()
    return F.mse_loss(
        _gaussian(cosines(flat(student)), gamma, order),
        _gaussian(cosines(flat(teacher)), gamma, order),
    )


def _unit_rows(x: Tensor) -> Tensor:
    return x * inverse_root(x.square().sum(1, keepdim=True))


def _neighbourhoods(x: Tensor) -> Float[Tensor, "b b"]:
    affinities = not_negative((1 + cosines(flat(x))) / 2)  # rounding can take a cosine below -1
    return affinities / affinities.sum(1, keepdim=True)


def _gaussian(cosine: Tensor, gamma: float, order: int) -> Tensor:
    """The Taylor series of `exp(2 gamma (cosine - 1))`, by Horner's scheme."""
    series = torch.ones_like(cosine)
    for power in range(order, 0, -1):
        series = 1 + series * cosine * (2 * gamma / power)
    return math.exp(-2 * gamma) * series


class SP(BatchLoss):
    """Similarity-preserving: Gram matrices between images, row-normalised.

    Source: Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019. The authors
    weigh it with 3000 on CIFAR-10, at the last block of each stage.

    Args:
        gather: See `BatchLoss`.
    """

    equal_widths = False
    equal_grids = False

    def compare(self, student: Images, teacher: Images) -> Scalar:
        """See `similarity_preserving`."""
        return similarity_preserving(student, teacher)


class PKT(BatchLoss):
    """Probabilistic knowledge transfer: which images are neighbours, as probabilities.

    Source: Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge
    Transfer", ECCV 2018. The authors train with it alone; Tian et al. ("Contrastive Representation
    Distillation", ICLR 2020) weigh it with 30,000 beside cross-entropy.

    Args:
        eps: Keeps the logarithm finite; positive.
        gather: See `BatchLoss`.
    """

    equal_widths = False
    equal_grids = False

    def __init__(self, eps: float = 1e-7, gather: bool = False) -> None:
        super().__init__(gather)
        if not 0 < eps < math.inf:
            raise ConfigError(f"PKT needs a positive eps, got {eps}. Its authors use 1e-7.")
        self.eps = eps

    def compare(self, student: Images, teacher: Images) -> Scalar:
        """See `pkt`."""
        return pkt(student, teacher, eps=self.eps)


class CC(BatchLoss):
    """Correlation congruence: Gaussian kernels between images.

    Source: Peng et al., "Correlation Congruence for Knowledge Distillation", ICCV 2019. Tian et
    al. ("Contrastive Representation Distillation", ICLR 2020) weigh the form `neighbours` with
    0.02.

    Args:
        gamma: Of the Gaussian kernel; positive.
        order: Of its Taylor series; at least 1.
        by: `kernel` for the paper's form, `neighbours` for the simpler one of the authors' code,
            which needs equal widths.
        gather: See `BatchLoss`.
    """

    equal_widths = False
    equal_grids = False

    def __init__(
        self,
        gamma: float = 0.4,
        order: int = 2,
        by: Congruence = "kernel",
        gather: bool = False,
    ) -> None:
        super().__init__(gather)
        if not (0 < gamma < math.inf and whole(order, 1)):
            raise ConfigError(
                "CC needs a positive gamma and a whole order of at least 1, got "
                f"{gamma} and {order}. Its authors use 0.4 and 2."
            )
        self.gamma, self.order = gamma, order
        self.by = chosen("CC", "by", by, _CONGRUENCES)
        if by == "neighbours":  # element by element, so that the link must match the two
            self.equal_widths = self.equal_grids = True  # type: ignore[misc]

    def compare(self, student: Images, teacher: Images) -> Scalar:
        """See `correlation_congruence`."""
        return correlation_congruence(
            student, teacher, gamma=self.gamma, order=self.order, by=self.by
        )
