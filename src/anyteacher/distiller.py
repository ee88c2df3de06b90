"""The distiller: a student, its teachers, and the links between them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import register_pytree_node

from anyteacher.connection import Connection, Source
from anyteacher.errors import ConfigError, NonFiniteError, TapError, TeacherError, did_you_mean
from anyteacher.link import Link
from anyteacher.normalization import ImageNorm
from anyteacher.seeding import forked
from anyteacher.taps import Recorder, Tap, find_module
from anyteacher.teacher import Teacher

_SEED_OFFSET = 0x616E7974  # any number that nobody takes for a seed


@dataclass
class Output:
    """What one step of distillation gives.

    Attributes:
        prediction: The student's own output.
        losses: Each link's loss by name, 0-dim and without its weight.
        total: The weighted sum of the links' losses, 0-dim; add it to the task's loss.
    """

    prediction: Any
    losses: dict[str, Tensor] = field(default_factory=dict)
    total: Tensor = field(default_factory=lambda: torch.zeros(()))


# What walks nested outputs must find the tensors inside: FSDP hooks its backward pass to them.
register_pytree_node(
    Output,
    lambda output: ([output.prediction, output.losses, output.total], None),
    lambda values, _: Output(*values),
    serialized_type_name="anyteacher.Output",
)


class Distiller(nn.Module):
    """Runs the student and its teachers once each, and sums the losses of the links.

    The student keeps its own parameters and names: `distiller.student.state_dict()` has the
    original keys. The teachers are part of neither `parameters()` nor `state_dict()`; the state
    holds a hash of each one's weights, and loading it beside another teacher is refused.
    Projectors are made with a random state of their own.

    Args:
        student: Any module that takes images (B, C, H, W) as its first argument.
        teachers: One teacher, or several by name. Plain modules become teachers with default
            settings.
        links: What to compare; names that are not given are made from the taps.
        example: Images to find the sizes with; two are enough. Nothing learns from them. Only
            without links can it be left out.
        images_norm: How the images fed to the student are normalised; in [0, 1] unless told.
        seed: For the projectors' initial values; None follows `torch.manual_seed`.
        check_finite: Whether a link's loss that is not finite is an error. The check waits for
            the device once a step, and is left out of compiled graphs.

    Raises:
        TapError: for a tap that does not exist, or is not reached.
        LayoutError: for features that cannot be compared.
        TeacherError: for a random teacher that was not calibrated, or one that shares parameters
            with the student.
        ConfigError: for a link that names no teacher, or two links of one name.
    """

    student: nn.Module
    connections: nn.ModuleList
    step: Tensor

    def __init__(
        self,
        student: nn.Module,
        teachers: Teacher | nn.Module | Mapping[str, Teacher | nn.Module],
        links: Sequence[Link],
        *,
        example: Tensor | None = None,
        images_norm: ImageNorm | None = None,
        seed: int | None = None,
        check_finite: bool = True,
    ) -> None:
        super().__init__()
        self.student = student
        self.check_finite = check_finite
        # Kept out of the module tree on purpose: not saved, not averaged, not sharded, not seen
        # by optimisers.
        self._teachers = _Teachers(teachers)
        self._teachers.check_apart_from(student)
        self.links = _named(links, self._teachers)
        if example is None and self.links:
            raise ConfigError("A distiller with links needs `example`: a few images to probe with.")
        for teacher in self._teachers.by_name.values():
            teacher.feed(images_norm or ImageNorm())
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self._student_recorder = Recorder(
            student, [tap for link in self.links for tap in link.student_taps]
        )
        try:
            self._teachers.watch(self.links)
            self.connections = nn.ModuleList() if example is None else self._connect(example, seed)
        except BaseException:
            self.release()  # leaves no hooks on models that go on without a distiller
            raise

    @property
    def teachers(self) -> Mapping[str, Teacher]:
        """The teachers by name; a single one is named `teacher`."""
        return dict(self._teachers.by_name)

    def _connect(self, example: Tensor, seed: int | None) -> nn.ModuleList:
        size = _size(example)
        parameter = next(self.student.parameters(), example)
        example = example.to(parameter.device)
        # The step's own draws must not depend on what is made here.
        # Nor may the projectors repeat the numbers that the same seed gave the student.
        with forked(torch.initial_seed() ^ _SEED_OFFSET if seed is None else seed):
            with _eval_mode(self.student):
                student_features = self._student_recorder.probe(example)
            teacher_features = {
                name: self._probe_teacher(name, example) for name in self._teachers.recorders
            }
            return nn.ModuleList(
                Connection(
                    link,
                    [Source(student_features[tap], size) for tap in link.student_taps],
                    [teacher_features[link.of][tap] for tap in link.teacher_taps],
                    self._teachers.modules(link),
                )
                for link in self.links
            ).to(parameter.device)

    def _probe_teacher(self, name: str, example: Tensor) -> dict[Tap, Source]:
        teacher = self._teachers.by_name[name]
        if not teacher.calibrated:
            raise TeacherError(
                f"Teacher '{name}' is random and has batch normalisations without statistics. "
                "Call teacher.calibrate([images, …]) with a few batches first."
            )
        teacher.to(example.device)
        teacher._stay_in_eval()
        with torch.no_grad(), teacher.precision(example):
            prepared = teacher.prepare(example)
            features = self._teachers.recorders[name].probe(prepared, stop_early=teacher.stop_early)
        return {tap: Source(feature, _size(prepared)) for tap, feature in features.items()}

    def forward(
        self,
        images: Tensor,
        *args: Any,
        teacher_images: Tensor | Mapping[str, Tensor] | None = None,
        targets: Tensor | None = None,
        indices: Tensor | None = None,
        **kwargs: Any,
    ) -> Output:
        """The student's prediction and the distillation losses of one batch.

        Args:
            images: A batch for the student (B, C, H, W); the teachers see the same.
            *args: Further arguments of the student.
            teacher_images: What the teachers see instead: one batch for all, or one by teacher
                name. As many images, normalised alike.
            targets: The class of each image (B,), or of each pixel (B, H, W), for losses that
                need it.
            indices: The place of each image in the training set (B,), for losses that need it.
            **kwargs: Further keyword arguments of the student.

        Raises:
            NonFiniteError: naming the link and the step.
            LayoutError: when a feature's shape fits no longer, or batch sizes differ.
        """
        size = _size(images)
        prediction, student_features = self._student_recorder.run(images, *args, **kwargs)
        teacher_features = {
            name: self._teacher_features(name, images, teacher_images)
            for name in self._teachers.recorders
        }
        given = {"targets": targets, "indices": indices}
        losses: dict[str, Tensor] = {}
        total = torch.zeros((), device=images.device)
        for link, connection in zip(self.links, self.connections, strict=True):
            loss = connection(
                [Source(student_features[tap], size) for tap in link.student_taps],
                [teacher_features[link.of][tap] for tap in link.teacher_taps],
                given,
            )
            losses[link.name] = loss
            total = total + link.weight_at(self.step) * loss
        if self.check_finite and losses and not torch.compiler.is_compiling():
            self._check(losses)
        if self.training and torch.is_grad_enabled():
            # Not in place: a compiled backward pass would find the changed step where it computes
            # the weights again.
            self.step = self.step + 1
        return Output(prediction, losses, total)

    def _teacher_features(
        self, name: str, images: Tensor, given: Tensor | Mapping[str, Tensor] | None
    ) -> dict[Tap, Source]:
        teacher = self._teachers.by_name[name]
        if isinstance(given, Mapping):
            if name not in given:
                raise ConfigError(
                    f"teacher_images has no images for teacher '{name}'. "
                    f"{did_you_mean(name, given)}"
                )
            given = given[name]
        teacher._stay_in_eval()
        with torch.no_grad(), teacher.precision(images):
            prepared = teacher.prepare(images if given is None else given)
            _, features = self._teachers.recorders[name].run(prepared)
        return {tap: Source(feature, _size(prepared)) for tap, feature in features.items()}

    def _check(self, losses: Mapping[str, Tensor]) -> None:
        values = torch.stack([loss.detach() for loss in losses.values()])
        if not bool(torch.isfinite(values).all()):
            bad = [f"'{n}' is {v}" for n, v in zip(losses, values.tolist(), strict=True) if v - v]
            raise NonFiniteError(
                f"At step {int(self.step)} the loss of link {', '.join(bad)}. A smaller learning "
                "rate or weight, a normalised feature (teacher_norm) or full precision may help."
            )

    def trainable_parameters(self) -> Iterator[nn.Parameter]:
        """What the optimiser is to train: the student, the projectors, and the losses' own."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def release(self) -> nn.Module:
        """The student with every hook taken off; the distiller is of no use afterwards."""
        for recorder in (self._student_recorder, *self._teachers.recorders.values()):
            recorder.remove()
        return self.student

    def get_extra_state(self) -> dict[str, dict[str, Any]]:
        """Hashes of the teachers' weights and what calibration has set, for the checkpoint."""
        return {
            name: {"weights": teacher.fingerprint(), "statistics": teacher.statistics()}
            for name, teacher in self._teachers.by_name.items()
        }

    def set_extra_state(self, state: dict[str, dict[str, Any]]) -> None:
        """Compares the teachers with those of the checkpoint, and takes their statistics from it.

        Raises:
            TeacherError: when they are not the same.
        """
        teachers = self._teachers.by_name
        then = {name: saved["weights"] for name, saved in state.items()}
        now = {name: teacher.fingerprint() for name, teacher in teachers.items()}
        if then != now:
            changed = sorted(name for name in {*now, *then} if now.get(name) != then.get(name))
            raise TeacherError(
                f"The checkpoint was made beside other teachers: {', '.join(changed)} differ. "
                "Give the same model, weights and seed as then, or start a new run."
            )
        for name, saved in state.items():
            teachers[name].restore(saved["statistics"])

    def _apply(self, fn: Any, recurse: bool = True) -> "Distiller":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        device = self.step.device
        for teacher in self._teachers.by_name.values():
            teacher.to(device)  # follows the student's device, and keeps its own precision
        return self


class _Teachers:
    """Holds the teachers where torch does not look for modules, and reads their features."""

    def __init__(self, given: Teacher | nn.Module | Mapping[str, Teacher | nn.Module]) -> None:
        self.recorders: dict[str, Recorder] = {}
        named = {"teacher": given} if isinstance(given, nn.Module) else dict(given)
        self.by_name = {
            name: teacher if isinstance(teacher, Teacher) else Teacher(teacher)
            for name, teacher in named.items()
        }

    def check_apart_from(self, student: nn.Module) -> None:
        """Refuses a student that was just frozen, since a teacher shares parameters with it."""
        own = {id(parameter) for parameter in student.parameters()}
        for name, teacher in self.by_name.items():
            if any(id(parameter) in own for parameter in teacher.parameters()):
                raise TeacherError(
                    f"Teacher '{name}' shares parameters with the student, and a teacher is "
                    "frozen. Give it a copy: Teacher(copy.deepcopy(model))."
                )

    def watch(self, links: Sequence[Link]) -> None:
        """Puts hooks on the teachers that a link names; the others are never run."""
        for name in dict.fromkeys(link.of for link in links):
            taps = [tap for link in links if link.of == name for tap in link.teacher_taps]
            self.recorders[name] = Recorder(self.by_name[name].model, taps)

    def modules(self, link: Link) -> list[nn.Module | None]:
        """The modules that give what a link taps of its teacher; None where a tap is an input."""
        model = self.by_name[link.of].model
        return [
            find_module(model, tap.path) if tap.side == "output" else None
            for tap in link.teacher_taps
        ]

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Teachers":
        other = _Teachers(self.by_name)  # the same frozen teachers, with hooks of the copy's own
        other.recorders = {name: recorder.twin() for name, recorder in self.recorders.items()}
        return other


def _named(links: Sequence[Link], teachers: _Teachers) -> tuple[Link, ...]:
    """The links with their names and teachers filled in."""
    result: list[Link] = []
    for link in links:
        of = link.of
        if not of and len(teachers.by_name) == 1:
            of = next(iter(teachers.by_name))
        if of not in teachers.by_name:
            raise ConfigError(
                f"Link '{link.taps_by_name}' names the teacher '{of}', which is not "
                f"there. {did_you_mean(of, teachers.by_name)} Set the link's `of`."
            )
        name = link.name or link.taps_by_name
        if name in {other.name for other in result}:
            raise ConfigError(f"Two links are named '{name}'. Give each a `name` of its own.")
        result.append(link.filled(name=name, of=of))
    return tuple(result)


def _size(images: Tensor) -> tuple[int, int]:
    if images.ndim != 4:
        raise TapError(
            f"Images of shape (B, C, H, W) are needed, got a tensor of shape {tuple(images.shape)}."
        )
    if not images.is_floating_point():
        raise TapError(
            f"Images of a floating-point type are needed, got {images.dtype}. Divide bytes by 255: "
            "images / 255."
        )
    return images.shape[2], images.shape[3]


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode inside, every module's own mode again outside."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
