"""What a linear projector does with the features: knowledge transfer and spectral regularisation.

An inverted link compares `X = Z_s - 1 b^T` with `Z_t P`, P = U S V^T of rank r. Written in
directions of the student's channels, the first r columns of V and what completes them to a basis,

    ||X - Z_t P||^2 = sum_{i<=r} ||X v_i - s_i Z_t u_i||^2    (knowledge transfer)
                    + ||X V_perp||^2                          (spectral regularisation)

The teacher has no part in the second term: it is a spectral loss of the student alone. In a
traditional link the two change places, and the second term is the teacher's energy out of the
projector's reach.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anyteacher.errors import ConfigError, LayoutError, NonFiniteError, did_you_mean
from anyteacher.spectral.gram import eigh, energies_along
from anyteacher.spectral.moments import Moments
from anyteacher.spectral.spectrum import effective_rank_of

Projected = Literal["inverted", "traditional"]


@dataclass(frozen=True)
class Decomposition:
    """The two terms of a linear link's loss, and what its projector and features are like.

    All are 0-dim tensors but for the singular values. Losses and energies are means over elements.

    Attributes:
        transfer: Knowledge transfer: the loss in the directions that the projector reaches.
        regularisation: Spectral regularisation: the loss in the others, which are those of the
            student in an inverted link and of the teacher in a traditional one.
        total: The loss, the sum of the two.
        singular_values: Of the projector, the largest first.
        rank: How many of them are more than rounding.
        projector_rank: Its effective rank, the exponential of the entropy of their shares of their
            squared sum.
        energy: The mean square of the student's features, no bias taken off.
        transfer_share: The share of it in the directions that the projector ties to the teacher's.
        regularisation_share: The share of it in the others.
        student_rank: The effective rank of the student's features, not centred.
        cka: Linear centred kernel alignment of the student's and the teacher's features.
    """

    transfer: Float[Tensor, ""]
    regularisation: Float[Tensor, ""]
    total: Float[Tensor, ""]
    singular_values: Float[Tensor, " k"] = field(repr=False)  # there may be hundreds
    rank: Int[Tensor, ""]
    projector_rank: Float[Tensor, ""]
    energy: Float[Tensor, ""]
    transfer_share: Float[Tensor, ""]
    regularisation_share: Float[Tensor, ""]
    student_rank: Float[Tensor, ""]
    cka: Float[Tensor, ""]


@torch.no_grad()
def decompose(
    z_s: Float[Tensor, "n s"],
    z_t: Float[Tensor, "n t"],
    weight: Float[Tensor, "out in"],
    bias: Float[Tensor, " out"] | None = None,
    *,
    direction: Projected = "inverted",
    tolerance: float | None = None,
) -> Decomposition:
    """The decomposition for one batch, exact to rounding whatever the tolerance.

    In single precision or better, whatever autocast does to the loss itself.

    Args:
        z_s: The student's features.
        z_t: The teacher's, of the same images.
        weight: The projector as a linear layer has it: `P^T`, (d_s, d_t) for an inverted link and
            (d_t, d_s) for a traditional one.
        bias: Its offset.
        direction: Which of the two it is.
        tolerance: Singular values of the projector up to this share of the largest count as zero;
            else what rounding makes of zeros in the projector's own precision.

    Raises:
        ConfigError: for an unknown direction, or a tolerance that is no share.
        LayoutError: when there is no row or the projector does not join the two.
        NonFiniteError: when a feature or the projector is infinite or not a number.
    """
    moments = Moments.of(z_s, z_t)
    tolerance = _tolerance(tolerance, weight)
    weight, bias = _checked(moments, weight, bias, direction)
    dtype = moments.student.dtype
    compared, projected = (z_s, z_t) if direction == "inverted" else (z_t, z_s)
    with torch.autocast(z_s.device.type, enabled=False):
        residual = compared.to(dtype) - projected.to(dtype) @ weight.mT
        residual = residual if bias is None else residual - bias
        left, values, right = _svd(weight, direction)
        errors = (residual @ left).square().mean(0) / len(weight)
        student = left if direction == "inverted" else right.mT
        return _assembled(moments, errors, values, student, tolerance)


@torch.no_grad()
def decompose_moments(
    moments: Moments,
    weight: Float[Tensor, "out in"],
    bias: Float[Tensor, " out"] | None = None,
    *,
    direction: Projected = "inverted",
    tolerance: float | None = None,
) -> Decomposition:
    """The decomposition over all rows whose moments were added up, in memory of d^2.

    The loss is a difference of moments: its rounding is relative to the energy of what is compared,
    not to the loss. Give moments of doubles where the fit is almost perfect.

    Args:
        moments: Of the features of all batches.
        weight: See `decompose`.
        bias: Likewise.
        direction: Likewise.
        tolerance: Likewise.

    Raises:
        ConfigError: for an unknown direction, or a tolerance that is no share.
        LayoutError: when the projector does not join the two.
        NonFiniteError: when a feature or the projector is infinite or not a number.
    """
    tolerance = _tolerance(tolerance, weight)
    weight, bias = _checked(moments, weight, bias, direction)
    inverted = direction == "inverted"
    with torch.autocast(weight.device.type, enabled=False):
        if inverted:
            own, other, across = moments.student, moments.teacher, moments.cross
            mean, other_mean = moments.student_mean, moments.teacher_mean
        else:
            own, other, across = moments.teacher, moments.student, moments.cross.mT
            mean, other_mean = moments.teacher_mean, moments.student_mean
        # E^T E of the centred residual E, and what its mean adds.
        explained = weight @ across
        products = own - explained - explained.mT + weight @ other @ weight.mT
        offset = mean - weight @ other_mean
        offset = offset if bias is None else offset - bias
        left, values, right = _svd(weight, direction)
        errors = energies_along(products, left) / moments.rows + (offset @ left).square()
        student = left if inverted else right.mT
        return _assembled(moments, errors / len(weight), values, student, tolerance)


def _checked(
    moments: Moments, weight: Tensor, bias: Tensor | None, direction: Projected
) -> tuple[Tensor, Tensor | None]:
    """Weight and bias in the precision of the moments."""
    if direction not in get_args(Projected):
        raise ConfigError(
            f"A decomposition is of a projection with direction 'inverted' or 'traditional', got "
            f"'{direction}'. {did_you_mean(str(direction), get_args(Projected))}"
        )
    if not weight.is_floating_point():
        raise LayoutError(f"A projector is a matrix of real numbers, got {weight.dtype}.")
    widths = len(moments.student_mean), len(moments.teacher_mean)
    expected = widths if direction == "inverted" else widths[::-1]
    if tuple(weight.shape) != expected:
        raise LayoutError(
            f"A projector of shape {tuple(weight.shape)} does not join a student of width "
            f"{widths[0]} and a teacher of width {widths[1]} with direction='{direction}': its "
            f"weight must be {expected}, as a linear layer has it."
        )
    if bias is not None and tuple(bias.shape) != expected[:1]:
        raise LayoutError(
            f"An offset of shape {tuple(bias.shape)} does not go with a projector to {expected[0]} "
            "channels."
        )
    sums = moments.student.trace() + moments.teacher.trace()
    if bias is not None:
        sums = sums + bias.abs().sum().to(sums)
    if not bool(weight.isfinite().all() & sums.isfinite()):
        raise NonFiniteError(
            "A decomposition needs finite features and a finite projector, and one of them is "
            "infinite or not a number."
        )
    like = moments.student
    return weight.detach().to(like), None if bias is None else bias.detach().to(like)


def _tolerance(given: float | None, weight: Tensor) -> float:
    """What is given, else what rounding makes of a singular value of zero, by the largest.

    In the precision in which the projector was made, that of a product such as `LowRank`'s, however
    precise the moments are.
    """
    if given is not None:
        if not 0 <= given <= 1:
            raise ConfigError(
                "A tolerance is the share of the largest singular value up to which others count "
                f"as zero, from 0 to 1, got {given}."
            )
        return given
    eps: float = torch.finfo(weight.dtype).eps
    return max(weight.shape) * eps


def _svd(weight: Tensor, direction: Projected) -> tuple[Tensor, Tensor, Tensor]:
    """With a whole basis of the compared side, and of the student's where that is the other."""
    whole = weight.shape[0] > weight.shape[1] or direction == "traditional"
    try:
        left, values, right = torch.linalg.svd(weight, full_matrices=whole)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        # Single precision may fail where double does not.
        found = torch.linalg.svd(weight.double(), full_matrices=whole)
        left, values, right = (part.to(weight.dtype) for part in found)
    return left, values, right


def _assembled(
    moments: Moments, errors: Tensor, values: Tensor, student: Tensor, tolerance: float
) -> Decomposition:
    """From the loss along each direction of the compared side, and the student's own directions."""
    rank = (values > tolerance * values[0]).sum()
    kept = torch.arange(len(errors), device=errors.device) < rank
    transfer, regularisation = (errors * kept).sum(), (errors * ~kept).sum()
    products = moments.raw()[0] / moments.rows
    along = energies_along(products, student).clamp(min=0)
    mine = torch.arange(len(along), device=along.device) < rank
    whole = along.sum()
    there = whole > 0
    scale = there / torch.where(there, whole, 1.0)
    return Decomposition(
        transfer=transfer,
        regularisation=regularisation,
        total=transfer + regularisation,
        singular_values=values,
        rank=rank,
        projector_rank=effective_rank_of(values.square()),
        energy=whole / len(student),
        transfer_share=(along * mine).sum() * scale,
        regularisation_share=(along * ~mine).sum() * scale,
        student_rank=effective_rank_of(eigh(products)[0].clamp(min=0)),
        cka=moments.cka(),
    )
