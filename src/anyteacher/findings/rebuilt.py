"""A finished run's student, projectors and teachers, put together again and measured."""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from anyteacher.analysis import Analysis, measure
from anyteacher.checkpoints import BEST
from anyteacher.data.loading import DataModule, collate
from anyteacher.distiller import Distiller
from anyteacher.errors import AnyteacherError, ConfigError, LayoutError, TapError
from anyteacher.experiment import Experiment
from anyteacher.link import Link
from anyteacher.regularizers import EffectiveRank
from anyteacher.training import TrainingModule
from anyteacher.unfinished import last_checkpoint

_LARGEST_BATCH = 64  # of a run without links, whose batches are of no matter


def analysed(
    made: Experiment, folder: Path, *, images: int, watched: Sequence[Link] = ()
) -> Analysis | None:
    """Measures a run's best weights on its validation images, in whole batches of its own size.

    Normalisations over the batch see as many images as in training, so an incomplete last batch is
    left out.

    Args:
        made: The experiment of the run's own settings.
        folder: Of the run.
        images: About how many images; fewer where there are fewer.
        watched: Links of other runs; where this run has none of its own, the student's features
            at their taps are measured, as far as it has them.

    Returns:
        What was measured; None where there is nothing to measure.

    Raises:
        TeacherError: when a teacher is not the one of training.
        ConfigError: when the checkpoint is missing, damaged, or does not fit the settings.
    """
    data = made.data
    data.prepare_data()
    data.setup("fit")
    module = made.module()
    try:
        if made.distillation.resolved():  # without links a run knows no teacher, given or not
            module.connect(data)
        _load(module, folder)
        module.to("cuda" if torch.cuda.is_available() else "cpu")
        distiller = module.distiller
        if not distiller.links:
            own = _watching(made, module, data, watched)
            if own is None:
                return None
            distiller = own
        try:
            return measure(distiller, _batches(data, module, images))
        finally:
            distiller.release()
    finally:
        module.distiller.release()


def _load(module: TrainingModule, folder: Path) -> None:
    """Takes all weights, the projectors' included, from the run's best checkpoint."""
    found = [
        path for path in (folder / "checkpoints" / BEST, last_checkpoint(folder)) if path.is_file()
    ]
    if not found:
        raise ConfigError(
            f"It has no checkpoint {BEST}, which holds the projectors. Train it again, or leave "
            "it out."
        )
    if not zipfile.is_zipfile(found[0]):
        raise ConfigError(f"'{found[0]}' is damaged, it may have been cut short.")
    state = torch.load(found[0], map_location="cpu", weights_only=True)["state_dict"]
    try:
        module.load_state_dict(state)
    except AnyteacherError:
        raise
    except RuntimeError as error:
        raise ConfigError(
            f"'{found[0]}' does not fit the student and links that the settings beside it make "
            f"({' '.join(str(error).split())[:200]} …). Were they changed since training?"
        ) from error


def _watching(
    made: Experiment, module: TrainingModule, data: DataModule, watched: Sequence[Link]
) -> Distiller | None:
    """A distiller that compares nothing, and looks at the student where other runs' links do."""
    example = module.normalized(_images(data, 0, min(2, len(data.val)), module))  # type: ignore[arg-type]
    links: list[Link] = []
    for link in watched:
        alone = Link(
            link.student,
            loss=EffectiveRank(),
            weight=0.0,
            compare=link.compare,
            student_norm=link.student_norm,
            student_layout=link.student_layout,
            name="+".join(map(str, link.student_taps)),
        )
        if alone.name in {other.name for other in links}:
            continue
        try:
            trial = Distiller(made.student, None, [alone], example=example)
        except (TapError, LayoutError):  # another student
            continue
        trial.release()
        links.append(alone)
    if not links:
        return None
    return Distiller(made.student, None, links, example=example, images_norm=module.images_norm).to(
        example.device
    )


def _batches(data: DataModule, module: TrainingModule, images: int) -> Iterator[Tensor]:
    count = min(images, len(data.val))  # type: ignore[arg-type]
    size = min(data.batch_size if module.distiller.links else _LARGEST_BATCH, count)
    for start in range(0, count - size + 1, size):
        yield module.normalized(_images(data, start, start + size, module))


def _images(data: DataModule, start: int, end: int, module: TrainingModule) -> Tensor:
    """Validation images in their order."""
    samples = [data.val[index] for index in range(start, end)]
    return collate(samples)["image"].to(module.device)
