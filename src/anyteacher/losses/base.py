"""What losses have in common: what they need of a link, and how features come to them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar, Literal, ParamSpec, TypeAlias, TypeVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import ConfigError, LayoutError, did_you_mean
from anyteacher.objective import Objective
from anyteacher.parallel import gather

Direction = Literal["inverted", "traditional", "none"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
Form = Literal["any", "positions", "images"]
Given = Literal["targets", "indices"]

Feature = Float[Tensor, "b c *grid"]
Levels: TypeAlias = Sequence[Float[Tensor, "b _ *_"]]  # each of its own width and grid
Images: TypeAlias = Float[Tensor, "b _ *_"]  # each side of its own width and grid
Scalar = Float[Tensor, ""]
_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")


class Loss(Objective, ABC):
    """What a link compares its features with. A concrete loss is a final subclass of one below.

    The class says what a loss needs; a link refuses, by name, what does not meet it.

    Attributes:
        directions: In which directions of projection the loss has a meaning.
        form: `positions` where a map is needed (a vector has none), `images` where one vector an
            image is needed, `any` where both will do.
        equal_widths: Whether both features must have as many channels as each other.
        equal_grids: Whether both maps must have the same grid.
        needs: What must be told of each image beside its features: `targets`, its class, and
            `indices`, its place in the training set.
        because: Why one of `directions` or `form` is refused, for the message.
    """

    directions: ClassVar[tuple[Direction, ...]] = ("inverted", "traditional", "none")
    form: ClassVar[Form] = "any"
    equal_widths: ClassVar[bool] = True
    equal_grids: ClassVar[bool] = True
    needs: ClassVar[tuple[Given, ...]] = ()
    because: ClassVar[str] = ""

    def build(
        self, student_width: int, teacher_width: int, teacher: nn.Module | None = None
    ) -> None:
        """Makes parameters and buffers, once the widths are known.

        Args:
            student_width: Channels of the student's feature as it is compared, projected or not.
            teacher_width: Likewise of the teacher's.
            teacher: The teacher's module whose output is compared, where it is neither projected
                nor normalised nor pooled.
        """

    @abstractmethod
    def forward(self, student: Any, teacher: Any) -> Scalar:
        """The loss as a 0-dim tensor, in single precision or better."""


class FeatureLoss(Loss):
    """A loss between two features, maps (B, C, H, W) or vectors (B, C).

    The loss does not know which side was projected: that is what makes any of them a cross-task
    loss. A final subclass stores hyperparameters and calls a pure function of its own file. The
    teacher's side comes without its history, unless a projector on that side is being learned.
    """

    @abstractmethod
    def forward(self, student: Feature, teacher: Feature) -> Scalar:
        """The loss as a 0-dim tensor, in single precision or better."""


class BatchLoss(FeatureLoss):
    """A loss of the batch as a whole: of relations between its images, or statistics over them.

    Its value for a batch is not the mean of its values for parts of it. Under data parallelism
    each process sees its own part, unless the parts are gathered first.

    Args:
        gather: Whether to gather the features of all processes, gradients included, so that the
            loss is that of the whole batch. Costs the communication of the features.
    """

    def __init__(self, gather: bool = False) -> None:
        super().__init__()
        self.gather = gather

    def forward(self, student: Images, teacher: Images) -> Scalar:
        """The loss of the process's batch, or of all processes' together."""
        if self.gather:
            student, teacher = gather(student), gather(teacher)
        return self.compare(student, teacher)

    @abstractmethod
    def compare(self, student: Images, teacher: Images) -> Scalar:
        """The loss as a 0-dim tensor, in single precision or better."""


class LevelLoss(Loss):
    """A loss between several features of each side at once, the shallowest first.

    A link calls it once, and does not `build` it: it has no parts that need the widths.

    Attributes:
        fewest: The fewest levels between which it has a meaning.
    """

    fewest: ClassVar[int] = 1

    @abstractmethod
    def forward(self, student: Levels, teacher: Levels) -> Scalar:
        """The loss as a 0-dim tensor, in single precision or better."""


class LogitLoss(FeatureLoss):
    """A loss between the logits of two models of one task: (B, K), or a pixel each (B, K, H, W).

    Both models must mean the same by each channel. Where they do not, there is nothing to compare.
    """

    directions: ClassVar[tuple[Direction, ...]] = ("none",)
    because: ClassVar[str] = (
        "it compares the probabilities of the same classes, and projected logits are no longer of "
        "any class. For a teacher of other classes or of another task, tap features of both and "
        "use a feature loss such as losses.MSE() with direction='inverted'"
    )

    def build(
        self, student_width: int, teacher_width: int, teacher: nn.Module | None = None
    ) -> None:
        """Refuses fewer than two classes."""
        check_classes(type(self).__name__, min(student_width, teacher_width))


def check_classes(name: str, classes: int) -> None:
    """Refuses logits of a single channel, which is no class among others.

    Raises:
        LayoutError: naming the loss.
    """
    if classes < 2:
        raise LayoutError(
            f"{name} compares probabilities of at least two classes, got logits of {classes}. "
            "For a single channel use a feature loss such as losses.MSE()."
        )


def chosen(owner: str, option: str, value: _T, known: tuple[_T, ...]) -> _T:
    """The value of an option, when it is one that is known.

    Args:
        owner: The loss or function, for the message.
        option: Its argument.
        value: What was given.
        known: What there is. A tuple, which `torch.compile` can look into.

    Raises:
        ConfigError: otherwise.
    """
    if value not in known:
        hint = did_you_mean(str(value), map(str, known))
        raise ConfigError(f"{owner}'s {option} cannot be {value!r}. {hint}")
    return value


def whole(value: object, least: int) -> bool:
    """Whether a setting is a whole number, and not less than `least`."""
    return isinstance(value, int) and value >= least


def comparable(
    name: str,
    student: Float[Tensor, "..."],
    teacher: Float[Tensor, "..."],
    *,
    widths: bool = True,
    grids: bool = True,
) -> tuple[Tensor, Tensor]:
    """Both features in a precision that sums safely, once it is known that they can be compared.

    Args:
        name: Of the loss, for the message.
        student: The student's feature.
        teacher: The teacher's.
        widths: Whether they must have the same number of channels.
        grids: Whether they must have the same grid.

    Raises:
        LayoutError: when their shapes differ in what must agree, or there is nothing to average.
    """
    mine, theirs = tuple(student.shape), tuple(teacher.shape)
    if len(mine) < 2 or mine[0] != theirs[0] or (len(mine) != len(theirs) and grids):
        raise LayoutError(
            f"{name} compares features of the same images, of one shape, got {mine} from the "
            f"student and {theirs} from the teacher."
        )
    if (widths and mine[1] != theirs[1]) or (grids and mine[2:] != theirs[2:]):
        what = "one shape" if widths and grids else "one width" if widths else "one grid"
        raise LayoutError(
            f"{name} compares features of {what}, got {mine} from the student and {theirs} from "
            "the teacher. A link with a projector matches them."
        )
    if student.numel() == 0 or teacher.numel() == 0:
        raise LayoutError(f"{name} has no rows to compare: the shape is {mine}.")
    dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    return student.to(dtype), teacher.to(dtype)


def in_memory_order(*features: Tensor) -> tuple[Tensor, ...]:
    """Maps with their channels last where so they lie in memory, for losses of each element alone.

    The losses of torch give their gradients in the order of the axes. Out of step with the feature
    they would be copied once more.
    """
    if features[0].ndim > 2 and all(x.stride(1) == 1 for x in features):
        return tuple(x.movedim(1, -1) for x in features)
    return features


def full_precision(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Runs a loss without autocast, which would take its matrix products to half precision."""

    @wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        kind = _device_type(*args, *kwargs.values())
        if kind is None or not torch.is_autocast_enabled(kind):
            return function(*args, **kwargs)
        with torch.autocast(kind, enabled=False):
            return function(*args, **kwargs)

    return run


def _device_type(*values: object) -> str | None:
    """Where the first tensor is, or the first sequence of them: settings may come before it."""
    for value in values:
        first = value[0] if isinstance(value, Sequence) and value else value
        if isinstance(first, Tensor):
            return first.device.type
    return None
