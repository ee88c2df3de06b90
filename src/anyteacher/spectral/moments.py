"""Second moments of two features: all that a linear link needs to know of its data."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.parallel import total, world_size


@dataclass(frozen=True)
class Moments:
    """Means and sums of centred products of two feature matrices, which add up over batches.

    Centred, so that nothing is lost where a mean is large against what varies around it. `moments +
    more` are those of all rows together (Chan, Golub and LeVeque, 1983).

    Attributes:
        rows: Number of rows n.
        student_mean: The mean row of the student's features, (d_s,).
        teacher_mean: Of the teacher's, (d_t,).
        student: `Z_s^T Z_s` of centred features, (d_s, d_s).
        cross: `Z_t^T Z_s` of centred features, (d_t, d_s).
        teacher: `Z_t^T Z_t` of centred features, (d_t, d_t).
    """

    rows: int
    student_mean: Float[Tensor, " s"]
    teacher_mean: Float[Tensor, " t"]
    student: Float[Tensor, "s s"]
    cross: Float[Tensor, "t s"]
    teacher: Float[Tensor, "t t"]

    @classmethod
    @torch.no_grad()
    def of(cls, z_s: Float[Tensor, "n s"], z_t: Float[Tensor, "n t"]) -> "Moments":
        """The moments of the student's and the teacher's features of the same images.

        Raises:
            LayoutError: when there is no row.
        """
        z_s, z_t = _alike(z_s, z_t)
        with torch.autocast(z_s.device.type, enabled=False):
            student_mean, teacher_mean = z_s.mean(0), z_t.mean(0)
            mine, theirs = z_s - student_mean, z_t - teacher_mean
            return cls(
                len(z_s),
                student_mean,
                teacher_mean,
                mine.mT @ mine,
                theirs.mT @ mine,
                theirs.mT @ theirs,
            )

    def __add__(self, other: "Moments") -> "Moments":
        rows = self.rows + other.rows
        student_mean = self.student_mean + (other.student_mean - self.student_mean) * (
            other.rows / rows
        )
        teacher_mean = self.teacher_mean + (other.teacher_mean - self.teacher_mean) * (
            other.rows / rows
        )
        mine, more = (part._around(student_mean, teacher_mean) for part in (self, other))
        sums = (a + b for a, b in zip(mine, more, strict=True))
        return Moments(rows, student_mean, teacher_mean, *sums)

    def reduced(self) -> "Moments":
        """The moments of the rows of all processes together, on every one of them."""
        if world_size() == 1:
            return self
        rows = total(torch.tensor(self.rows, device=self.student.device))
        student_mean = total(self.student_mean * self.rows) / rows
        teacher_mean = total(self.teacher_mean * self.rows) / rows
        sums = (total(part) for part in self._around(student_mean, teacher_mean))
        return Moments(int(rows), student_mean, teacher_mean, *sums)

    def _around(self, student_mean: Tensor, teacher_mean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three sums around other means than its own."""
        mine, theirs = self.student_mean - student_mean, self.teacher_mean - teacher_mean
        return (
            torch.addr(self.student, mine, mine, alpha=self.rows),
            torch.addr(self.cross, theirs, mine, alpha=self.rows),
            torch.addr(self.teacher, theirs, theirs, alpha=self.rows),
        )

    def projected(
        self, weight: Float[Tensor, "p t"], bias: Float[Tensor, " p"] | None = None
    ) -> "Moments":
        """The moments of the projected teacher, in the student's place, and the teacher.

        Args:
            weight: As a linear layer has it.
            bias: Its offset.
        """
        weight = weight.to(self.teacher)
        mean = weight @ self.teacher_mean
        mean = mean if bias is None else mean + bias
        cross = self.teacher @ weight.mT
        return Moments(self.rows, mean, self.teacher_mean, weight @ cross, cross, self.teacher)

    def raw(self) -> tuple[Float[Tensor, "s s"], Float[Tensor, "t s"], Float[Tensor, "t t"]]:
        """`Z_s^T Z_s`, `Z_t^T Z_s` and `Z_t^T Z_t` of the features as they are, not centred."""
        return self._around(
            torch.zeros_like(self.student_mean), torch.zeros_like(self.teacher_mean)
        )

    def cka(self) -> Float[Tensor, ""]:
        """Linear centred kernel alignment, from 0 to 1; 0 where a side is constant.

        `||Z_t^T Z_s||_F^2 / (||Z_s^T Z_s||_F ||Z_t^T Z_t||_F)` of centred features (Kornblith et
        al., ICML 2019).
        """
        scale = self.student.norm() * self.teacher.norm()
        there = scale > torch.finfo(scale.dtype).tiny
        aligned: Tensor = self.cross.square().sum() * there / torch.where(there, scale, 1.0)
        return aligned


def closed_form(
    z_t: Float[Tensor, "n t"],
    z_s: Float[Tensor, "n s"],
    *,
    ridge: float = 1e-3,
) -> Float[Tensor, "s t"]:
    """The inverted projector that fits best, `P = (Z_t^T Z_t / n + ridge I)^-1 Z_t^T Z_s / n`.

    Only meaningful for many more rows than the teacher has channels: with fewer, any student is
    explained. The gradient reaches the student's features through P too. `projectors.ClosedForm` is
    the same for a link, over several processes too.

    Args:
        z_t: The teacher's features.
        z_s: The student's.
        ridge: Positive; an absolute number in the unit of the teacher's mean square, so that a
            teacher of small features is to be normalised (`teacher_norm`).

    Returns:
        `P^T`, the weight of a linear layer from the teacher's width to the student's.

    Raises:
        ConfigError: when the ridge is not positive.
        LayoutError: when there is no row.
    """
    z_s, z_t = _alike(z_s, z_t)
    with torch.autocast(z_s.device.type, enabled=False):
        moments = z_t.mT @ z_t / len(z_t), z_t.mT @ z_s / len(z_t)
        return closed_form_moments(*moments, ridge=ridge)


def closed_form_moments(
    teacher: Float[Tensor, "t t"], cross: Float[Tensor, "t s"], *, ridge: float = 1e-3
) -> Float[Tensor, "s t"]:
    """`closed_form` from the moments `Z_t^T Z_t / n` and `Z_t^T Z_s / n`, or averages of such.

    Costs one Cholesky factorisation. The ridge is no less than what rounding makes of so many
    channels, `eps` times the trace.

    Raises:
        ConfigError: when the ridge is not positive.
    """
    if not ridge > 0:
        raise ConfigError(
            f"A closed-form projector needs a positive ridge, got {ridge}. 0.001 is the default."
        )
    floor = torch.finfo(teacher.dtype).eps * teacher.detach().trace()
    one = torch.eye(len(teacher), dtype=teacher.dtype, device=teacher.device)
    # Unlike `cholesky`, this does not wait for the device to ask whether it has failed.
    factor, failed = torch.linalg.cholesky_ex(teacher + floor.clamp(min=ridge) * one)
    factor = torch.where(failed > 0, torch.nan, factor)
    return torch.cholesky_solve(cross, factor).mT


def _alike(z_s: Tensor, z_t: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one precision that is single or better."""
    if len(z_s) != len(z_t) or len(z_s) == 0:
        raise LayoutError(
            "Moments are of one row or more of both sides, from the same images, got features of "
            f"shape {tuple(z_s.shape)} from the student and {tuple(z_t.shape)} from the teacher."
        )
    dtype = torch.promote_types(torch.promote_types(z_s.dtype, z_t.dtype), torch.float32)
    return z_s.to(dtype), z_t.to(dtype)
