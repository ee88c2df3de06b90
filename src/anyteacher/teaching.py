"""The teachers of a distiller: held apart from what is trained, and read for their features."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from anyteacher.errors import ConfigError, TeacherError, did_you_mean
from anyteacher.level import Source, size_of
from anyteacher.link import Link
from anyteacher.normalization import ImageNorm
from anyteacher.recorder import Recorder
from anyteacher.taps import Tap, tapped_module
from anyteacher.teacher import Teacher
from anyteacher.window import Window


class Teachers:
    """Holds the teachers where torch does not look for modules, and reads their features."""

    def __init__(
        self, given: Teacher | nn.Module | Mapping[str, Teacher | nn.Module] | None
    ) -> None:
        self.recorders: dict[str, Recorder] = {}
        named = {"teacher": given} if isinstance(given, nn.Module) else dict(given or {})
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
        for name in dict.fromkeys(link.of for link in links if link.teacher_taps):
            taps = [tap for link in links if link.of == name for tap in link.teacher_taps]
            self.recorders[name] = Recorder(self.by_name[name].model, taps)

    def probe(self, name: str, example: Tensor) -> dict[Tap, Source]:
        """The features of one teacher for a few images, and what its recorder has to know."""
        teacher = self.by_name[name]
        if not teacher.calibrated:
            raise TeacherError(
                f"Teacher '{name}' is random and has batch normalisations without statistics. "
                "Call teacher.calibrate([images, …]) with a few batches first."
            )
        teacher.to(example.device)
        teacher._stay_in_eval()
        with torch.no_grad(), teacher.precision(example):
            prepared = teacher.prepare(example)
            with teacher.explaining(prepared):
                features = self.recorders[name].probe(prepared, stop_early=teacher.stop_early)
        return {
            tap: Source(feature, size_of(prepared), tapped_module(teacher.model, tap))
            for tap, feature in features.items()
        }

    def features(
        self,
        name: str,
        images: Tensor,
        given: Tensor | Mapping[str, Tensor] | None,
        window: Window | None = None,
    ) -> dict[Tap, Source]:
        """The features of one teacher.

        Args:
            name: Of the teacher.
            images: What the student sees.
            given: What the teachers see instead, if anything.
            window: Where in that the student's images are; None where both see the same.

        Raises:
            ConfigError: when a teacher has no images, or the window is not inside of them.
        """
        teacher = self.by_name[name]
        if isinstance(given, Mapping):
            if name not in given:
                raise ConfigError(
                    f"teacher_images has no images for teacher '{name}'. "
                    f"{did_you_mean(name, given)}"
                )
            given = given[name]
        if window is not None and given is None:
            raise ConfigError("A window says where the student's images lie in teacher_images.")
        part = None if window is None or given is None else window.part_of(size_of(given))
        teacher._stay_in_eval()
        with torch.no_grad(), teacher.precision(images):
            prepared = teacher.prepare(images if given is None else given)
            _, features = self.recorders[name].run(prepared)
        size = size_of(prepared)
        return {tap: Source(feature, size, part=part) for tap, feature in features.items()}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Teachers":
        other = Teachers(self.by_name)  # the same frozen teachers, with hooks of the copy's own
        other.recorders = {name: recorder.twin() for name, recorder in self.recorders.items()}
        return other


def named(links: Sequence[Link], teachers: Teachers) -> tuple[Link, ...]:
    """The links with their names and teachers filled in."""
    if isinstance(links, Link) or links is None:
        raise ConfigError(f"A distiller takes a list of links, got {links!r}. Write [link].")
    result: list[Link] = []
    for link in links:
        of = _teacher_of(link, teachers.by_name) if link.teacher_taps else link.of
        name = link.name or link.taps_by_name
        if name in {other.name for other in result}:
            raise ConfigError(f"Two links are named '{name}'. Give each a `name` of its own.")
        result.append(link.filled(name=name, of=of))
    return tuple(result)


def _teacher_of(link: Link, teachers: Mapping[str, Teacher]) -> str:
    """The name of a link's teacher: the one stated, or the only one."""
    if not teachers:
        raise ConfigError(
            f"Link '{link.taps_by_name}' compares the student with a teacher, and the distiller "
            "has none. Give it one, or a link with a loss of the student alone such as "
            "regularizers.TrailingEnergy(0.25)."
        )
    of = link.of or (next(iter(teachers)) if len(teachers) == 1 else "")
    if of not in teachers:
        raise ConfigError(
            f"Link '{link.taps_by_name}' names the teacher '{of}', which is not there. "
            f"{did_you_mean(of, teachers)} Set the link's `of`."
        )
    return of


def calibrate(teachers: Mapping[str, Teacher], batches: Sequence[Tensor], norm: ImageNorm) -> None:
    """Sets the statistics of those random teachers that wait for some.

    Args:
        teachers: Any, by name.
        batches: Images (B, C, H, W) as the student is fed.
        norm: How they are normalised.
    """
    for teacher in teachers.values():
        if not teacher.calibrated:
            teacher.feed(norm)
            teacher.calibrate(batches)
