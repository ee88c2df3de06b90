"""What the projectors of a distiller do, measured over many batches."""

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor

from anyteacher.distiller import Distiller, evaluating
from anyteacher.errors import ConfigError, DataError, did_you_mean
from anyteacher.level import size_of
from anyteacher.observation import View, moments_of
from anyteacher.spectral import Decomposition, Moments


@torch.no_grad()
def decompose(
    distiller: Distiller, batches: Iterable[Tensor], links: Sequence[str] = ()
) -> dict[str, Decomposition]:
    """The decomposition of each link with a linear projector, over all images of a loader.

    In double precision, with the models in eval mode, and of the squared error between the compared
    features, whatever a link's loss. Takes memory of the squares of the widths.

    >>> decompose(distiller, (images for images, _ in loader))  # doctest: +SKIP

    Args:
        distiller: Trained or not.
        batches: Batches of images (B, C, H, W), normalised as in training.
        links: Names of links, `name[0]` for a level of several; empty for all that have a linear
            projector.

    Raises:
        ConfigError: for a link that is not there, or has no linear projector; where none has.
        LayoutError: naming the link, where a projector is fitted and has too few rows.
        DataError: when there is no batch.
        TapError: for batches that are not images alone.
    """
    links = [links] if isinstance(links, str) else links
    device = distiller.step.device
    sums: dict[str, Moments] = {}
    views: dict[str, View] = {}
    with evaluating(distiller):
        for images in batches:
            size_of(images)
            found = {view.name: view for view in distiller.views(images.to(device))}
            views = _chosen(found, links)
            for name, view in views.items():
                more = moments_of(view.compared)
                sums[name] = sums[name] + more if name in sums else more
    if not sums:
        raise DataError("A decomposition needs at least one batch of images, and there was none.")
    return {name: view.decomposed(sums[name]) for name, view in views.items()}


def _chosen(found: dict[str, View], names: Sequence[str]) -> dict[str, View]:
    for name in names:
        if name not in found:
            raise ConfigError(f"There is no link '{name}'. {did_you_mean(name, found)}")
        view = found[name]
        if view.projector is None:
            raise ConfigError(
                f"Link '{name}' projects nothing by itself, so there is nothing to decompose. A "
                "decomposition is of a link with a linear projector."
            )
        if not view.projector.is_linear:
            view.affine_over()  # says why
        if not view.is_decomposable:
            raise ConfigError(
                f"Link '{name}' compares features of different positions: the student's "
                f"{tuple(view.compared.student.shape)} and the teacher's "
                f"{tuple(cast('Tensor', view.compared.teacher).shape)}. They have no decomposition."
            )
    kept = {name: view for name, view in found.items() if view.is_decomposable}
    if not kept:
        kinds = [
            f"{name} has {'none' if view.projector is None else type(view.projector).__name__}"
            for name, view in found.items()
        ]
        raise ConfigError(
            "No link has a linear projector between features of the same positions, so there is "
            f"nothing to decompose: {', '.join(kinds) or 'there are no links'}."
        )
    return {name: kept[name] for name in names or kept}
