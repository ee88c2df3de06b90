"""Projectors that average over batches, fitted before training."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from anyteacher.distiller import Distiller
from anyteacher.errors import LayoutError, NonFiniteError
from anyteacher.projectors import ClosedForm
from anyteacher.seeding import forked
from anyteacher.window import seen_by


@torch.no_grad()
def prefit(distiller: Distiller, batches: Iterable[Tensor], *, margin: int = 0) -> None:
    """Fills the averages of projectors that keep some: `projectors.ClosedForm(decay=…)`.

    Takes as many batches as they need, none where no projector waits for any. The features are
    those of a step of training in the present mode, without a loss; the student's buffers and the
    random state stay as they are.

    Args:
        distiller: Before its training.
        batches: Batches of images (B, C, H, W), normalised as in training. Under data parallelism
            each process gives its own, and all of them equally many.
        margin: Pixels on each side of the images that the teachers alone see.

    Raises:
        LayoutError: naming the link, when its features do not fit together, or all batches have too
            few rows.
        TapError: for batches that are not images alone.
    """
    device = distiller.step.device
    waiting = [p for p in distiller.modules() if isinstance(p, ClosedForm) and not p.is_ready]
    if not waiting:
        return
    with forked(torch.initial_seed()), _unchanged(distiller.student):
        for images in batches:
            seen = seen_by(images.to(device), margin)
            for view in distiller.views(seen.student, **seen.for_teachers()):
                if isinstance(view.projector, ClosedForm) and view.projector in waiting:
                    teacher = cast("Tensor", view.compared.teacher)
                    _add(view.projector, teacher, view.compared.student, view.name)
            if all(projector.is_ready for projector in waiting):
                return
    for link, made in zip(distiller.links, distiller.connections, strict=True):
        for part in made.modules():
            if part in waiting and not part.is_ready:
                raise LayoutError(
                    f"Link '{link.name}': all images together have {part.seen:.0f} rows to fit "
                    f"ClosedForm to, and it needs at least {part.needed}. Use more images, "
                    "compare='positions', or a tap of the teacher with fewer channels."
                )


def _add(projector: ClosedForm, teacher: Tensor, student: Tensor, name: str) -> None:
    # Not by their sum, which half precision has no room for.
    if not bool(teacher.isfinite().all() & student.isfinite().all()):
        raise NonFiniteError(
            f"Link '{name}': a feature of these images is infinite or not a number. Check the "
            "images and the models' weights."
        )
    try:
        projector.prefit(teacher, student)
    except LayoutError as error:
        raise LayoutError(f"Link '{name}': {error}") from error


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Buffers, such as running statistics, outside as they were before."""
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        yield
    finally:
        for name, buffer in model.named_buffers():
            buffer.copy_(before[name])
