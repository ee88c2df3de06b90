"""What all regularisers have in common."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import LayoutError, NonFiniteError
from anyteacher.layout import to_rows
from anyteacher.objective import Objective
from anyteacher.parallel import total, world_size

Value: TypeAlias = tuple[Tensor, dict[str, Any]]


class Regularizer(Objective, ABC):
    """A loss of one feature, a map (B, C, H, W) or a vector (B, C); every position is a row.

    A final subclass stores hyperparameters and calls a function of `spectral` in `measure`. It
    depends on the batch as a whole: on n = B H W rows of d = C channels.

    Args:
        centre: Whether to take the mean row off first. By default the mean is a direction like
            others, as it is for a projector without a bias.
        reduce: Whether, in training, the rows are those of all processes together, so that the
            gradients are those of the whole batch. Costs the communication of a (d, d) matrix.

    Attributes:
        fewest: The fewest rows that say anything, before centring.
        remedy: What else helps where there are fewer, for the message.
        check_finite: Whether a loss that is not finite is an error here; in a distiller it is one
            there. The check waits for the device.
    """

    fewest: int = 1
    remedy: ClassVar[str] = ""
    check_finite: bool = True
    width: int = 0

    def __init__(self, centre: bool = False, reduce: bool = True) -> None:
        super().__init__()
        self.centre, self.reduce = centre, reduce

    def build(self, width: int) -> None:
        """Makes buffers, once the width is known.

        Raises:
            LayoutError: when the hyperparameters do not go with this width.
        """
        self.width = width

    def forward(self, x: Float[Tensor, "b c *grid"]) -> Float[Tensor, ""]:
        """The loss as a 0-dim tensor, in single precision or better.

        Raises:
            LayoutError: when there are too few rows to learn from, or another number of channels
                than was built.
            NonFiniteError: when a feature is infinite or not a number.
        """
        name = type(self).__name__
        width = x.shape[1] if x.ndim > 1 else None
        if width != self.width or not self.width:
            wanted = "channels" if width is None else width
            known = f"was built for {self.width} channels" if self.width else "was not built"
            raise LayoutError(
                f"{name} {known} and got a feature of shape {tuple(x.shape)}, which has its "
                f"channels second: (B, C) or (B, C, H, W). Call build({wanted}) for it first, "
                "or bring tokens (B, N, C) to rows (B N, C)."
            )
        rows = to_rows(x)
        count, least = len(rows), self.fewest + self.centre
        if self._reduces and world_size() > 1:
            count = int(total(torch.tensor(count, device=x.device)))
        # Where nothing learns from it, a short last batch or a single image does no harm.
        if count < (least if self.training and torch.is_grad_enabled() else 1):
            raise LayoutError(
                f"{name} needs at least {least} rows (images times positions), got {count} from a "
                f"feature of shape {tuple(x.shape)}. Use a larger batch (drop_last=True for the "
                "last of an epoch), compare='positions', or an earlier tap with more positions"
                f"{self.remedy}."
            )
        value, state = self.measure(rows, count)
        checked = self.check_finite and not torch.compiler.is_compiling()
        if checked and not bool(value.isfinite()):
            raise NonFiniteError(
                f"{name} is {float(value)}: a feature of shape {tuple(x.shape)} is infinite or not "
                "a number, or too large to be squared. A smaller learning rate, a normalised "
                "feature or full precision may help."
            )
        if self.training and torch.is_grad_enabled():
            for buffer, content in state.items():
                setattr(self, buffer, content)  # not in place, as the distiller's step
        return value

    @property
    def _reduces(self) -> bool:
        # In validation the processes need not have as many batches as each other.
        return self.reduce and self.training

    @abstractmethod
    def measure(self, rows: Float[Tensor, "n c"], count: int) -> Value:
        """The loss of a feature matrix, and what the buffers hold after a step of training.

        Args:
            rows: Of this process.
            count: How many there are, of all processes together where they are added up.
        """

    def extra_repr(self) -> str:
        """The width, for printing."""
        return f"{self.width} channels" if self.width else "not built"
