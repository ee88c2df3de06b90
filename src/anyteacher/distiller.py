"""The distiller: a student, its teachers, and the links between them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from anyteacher.connection import Connection
from anyteacher.errors import ConfigError, NonFiniteError, TeacherError
from anyteacher.level import Source, size_of
from anyteacher.link import Link
from anyteacher.normalization import ImageNorm
from anyteacher.observation import CollapseGuard, Observation, View, observed
from anyteacher.output import Output
from anyteacher.recorder import Recorder
from anyteacher.regularization import Regularization
from anyteacher.seeding import forked
from anyteacher.taps import tapped_module
from anyteacher.teacher import Teacher
from anyteacher.teaching import Teachers, named
from anyteacher.window import Window

_SEED_OFFSET = 0x616E7974  # any number that nobody takes for a seed


class Distiller(nn.Module):
    """Runs the student and its teachers once each, and sums the losses of the links.

    The student keeps its own parameters and names: `distiller.student.state_dict()` has the
    original keys. The teachers are part of neither `parameters()` nor `state_dict()`; the state
    holds a hash of each one's weights, and loading it beside another teacher is refused.
    Projectors are made with a random state of their own.

    Args:
        student: Any module that takes images (B, C, H, W) as its first argument.
        teachers: One teacher, several by name, or None. Plain modules become teachers with default
            settings.
        links: What to compare, or to regularise; names that are not given are made from the taps.
        example: Images to find the sizes with; two are enough. Nothing learns from them. Only
            without links can it be left out.
        images_norm: How the images fed to the student are normalised; in [0, 1] unless told.
        seed: For the projectors' initial values; None follows `torch.manual_seed`.
        check_finite: Whether a link's loss that is not finite is an error. The check waits for
            the device once a step, and is left out of compiled graphs.
        guard: Warns, where features are observed, when the student's collapse.

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
        teachers: Teacher | nn.Module | Mapping[str, Teacher | nn.Module] | None,
        links: Sequence[Link],
        *,
        example: Tensor | None = None,
        images_norm: ImageNorm | None = None,
        seed: int | None = None,
        check_finite: bool = True,
        guard: CollapseGuard | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.check_finite, self.guard = check_finite, guard or CollapseGuard()
        # Kept out of the module tree on purpose: not saved, not averaged, not sharded, not seen
        # by optimisers.
        self._teachers = Teachers(teachers)
        self._teachers.check_apart_from(student)
        self.links = named(links, self._teachers)
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
        size = size_of(example)
        parameter = next(self.student.parameters(), example)
        example = example.to(parameter.device)
        # The step's own draws must not depend on what is made here.
        # Nor may the projectors repeat the numbers that the same seed gave the student.
        # Without autocast: what is made takes its precision from the features of the probe.
        apart = forked(torch.initial_seed() ^ _SEED_OFFSET if seed is None else seed)
        with apart, torch.autocast(example.device.type, enabled=False):
            with evaluating(self.student):
                student_features = self._student_recorder.probe(example)
            teacher_features = {
                name: self._teachers.probe(name, example) for name in self._teachers.recorders
            }
            made: list[nn.Module] = []
            for link in self.links:
                mine = [
                    Source(student_features[tap], size, tapped_module(self.student, tap))
                    for tap in link.student_taps
                ]
                theirs = [teacher_features[link.of][tap] for tap in link.teacher_taps]
                alone = not link.teacher_taps
                made.append(Regularization(link, mine) if alone else Connection(link, mine, theirs))
            return nn.ModuleList(made).to(parameter.device)

    def forward(
        self,
        images: Tensor,
        *args: Any,
        teacher_images: Tensor | Mapping[str, Tensor] | None = None,
        window: Window | None = None,
        targets: Tensor | None = None,
        indices: Tensor | None = None,
        observe: bool = False,
        **kwargs: Any,
    ) -> Output:
        """The student's prediction and the distillation losses of one batch.

        Args:
            images: A batch for the student (B, C, H, W); the teachers see the same.
            *args: Further arguments of the student.
            teacher_images: What the teachers see instead: one batch for all, or one by teacher
                name. As many images, normalised alike, of the same view unless `window` says
                otherwise.
            window: Where in `teacher_images` the student's images lie, if they show more. Links
                that compare positions then take that part of the teachers' features; pooled
                features stay those of all that a teacher sees.
            targets: The class of each image (B,), or of each pixel (B, H, W), for losses that
                need it.
            indices: The place of each image in the training set (B,), for losses that need it.
            observe: Whether to look at the features: see `Output.observations`. Costs a product
                of the features with themselves and a few decompositions, and changes nothing;
                meant for every hundredth step or so.
            **kwargs: Further keyword arguments of the student.

        Raises:
            NonFiniteError: naming the link and the step.
            LayoutError: when a feature's shape fits no longer, or batch sizes differ.
        """
        prediction, sides = self._read(images, teacher_images, window, *args, **kwargs)
        given = {"targets": targets, "indices": indices}
        losses: dict[str, Tensor] = {}
        terms: list[Tensor] = []
        for link, connection, side in zip(self.links, self.connections, sides, strict=True):
            loss = connection(*side, given)
            losses[link.name] = loss
            terms.append(link.weight_at(self.step) * loss)
        total = sum(terms[1:], start=terms[0]) if terms else torch.zeros((), device=images.device)
        if self.check_finite and losses and not torch.compiler.is_compiling():
            self._check(losses, total)
        observations: dict[str, Observation] = {}
        if observe:
            # In eval mode normalisations and dropout differ: the first look would be no measure.
            step = int(self.step) if self.training else None
            for view in self._views(sides):
                observations[view.name] = observed(view, self.guard, step)
        if self.training and torch.is_grad_enabled():
            # Not in place: a compiled backward pass would find the changed step where it computes
            # the weights again.
            self.step = self.step + 1
        return Output(prediction, losses, total, observations)

    def _read(
        self,
        images: Tensor,
        teacher_images: Tensor | Mapping[str, Tensor] | None,
        window: Window | None,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Any, list[tuple[list[Source], list[Source]]]]:
        """The student's prediction, and each link's features of the student and the teacher."""
        size = size_of(images)
        prediction, mine = self._student_recorder.run(images, *args, **kwargs)
        theirs = {
            name: self._teachers.features(name, images, teacher_images, window)
            for name in self._teachers.recorders
        }
        return prediction, [
            (
                [Source(mine[tap], size) for tap in link.student_taps],
                [theirs[link.of][tap] for tap in link.teacher_taps],
            )
            for link in self.links
        ]

    @torch.no_grad()
    def views(
        self,
        images: Tensor,
        *args: Any,
        teacher_images: Tensor | Mapping[str, Tensor] | None = None,
        window: Window | None = None,
        **kwargs: Any,
    ) -> list[View]:
        """The features of every level of every link as it compares them, in the present mode.

        Args:
            images: As in a step.
            *args: Likewise.
            teacher_images: Likewise.
            window: Likewise.
            **kwargs: Likewise.

        Raises:
            LayoutError: when a feature's shape fits no longer, or batch sizes differ.
        """
        _, sides = self._read(images, teacher_images, window, *args, **kwargs)
        return list(self._views(sides))

    def _views(self, sides: list[tuple[list[Source], list[Source]]]) -> Iterator[View]:
        for link, module, side in zip(self.links, self.connections, sides, strict=True):
            made = cast("Connection | Regularization", module)
            levels = made.compared(*side)
            for place, (projector, compared) in enumerate(
                zip(made.projectors, levels, strict=True)
            ):
                name = link.name if len(levels) == 1 else f"{link.name}[{place}]"
                yield View(name, link.direction, projector, compared)

    def _check(self, losses: Mapping[str, Tensor], total: Tensor) -> None:
        # One number is read: it is not finite where any of its terms is not, weight 0 or not.
        if math.isfinite(total.item()):
            return
        values = {name: loss.item() for name, loss in losses.items()}
        bad = [f"'{name}' is {value}" for name, value in values.items() if not math.isfinite(value)]
        what = f"loss of link {', '.join(bad)}" if bad else f"weighted sum of the links is {total}"
        raise NonFiniteError(
            f"At step {int(self.step)} the {what}. A smaller learning rate or weight, a "
            "normalised feature (student_norm, teacher_norm) or full precision may help."
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
        """Hashes of the teachers' weights, what calibration has set, what the guard remembers."""
        teachers = {
            name: {"weights": teacher.fingerprint(), "statistics": teacher.statistics()}
            for name, teacher in self._teachers.by_name.items()
        }
        return {"teachers": teachers, "guard": self.guard.state()}

    def set_extra_state(self, state: dict[str, dict[str, Any]]) -> None:
        """Compares the teachers with those of the checkpoint, and takes their statistics from it.

        Raises:
            TeacherError: when they are not the same.
        """
        teachers = self._teachers.by_name
        then = {name: saved["weights"] for name, saved in state["teachers"].items()}
        now = {name: teacher.fingerprint() for name, teacher in teachers.items()}
        if then != now:
            changed = sorted(name for name in {*now, *then} if now.get(name) != then.get(name))
            raise TeacherError(
                f"The checkpoint was made beside other teachers: {', '.join(changed)} differ. "
                "Give the same model, weights and seed as then, or start a new run."
            )
        for name, saved in state["teachers"].items():
            teachers[name].restore(saved["statistics"])
        if "guard" in state:  # the earliest checkpoints have none
            self.guard.restore(state["guard"])

    def _apply(self, fn: Any, recurse: bool = True) -> "Distiller":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        device = self.step.device
        for teacher in self._teachers.by_name.values():
            teacher.to(device)  # follows the student's device, and keeps its own precision
        return self


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside, every module's own mode again outside."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
