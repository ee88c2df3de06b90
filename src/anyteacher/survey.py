"""Which layers of a model are worth a tap, and which of two models go together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from anyteacher.errors import AnyteacherError, LayoutError
from anyteacher.layout import Kind, channels, detect
from anyteacher.taps import Tap, select

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Candidate:
    """A layer whose feature can be tapped.

    Attributes:
        path: What to write in a link.
        kind: Layout of the feature.
        shape: Its shape without the batch axis.
        channels: Its width.
        grid: Rows and columns of its positions; None for a vector or tokens without a grid.
        stride: Pixels of the image to one position; None without a grid.
        parameters: Number of parameters in the layer.
    """

    path: str
    kind: Kind
    shape: tuple[int, ...]
    channels: int
    grid: tuple[int, int] | None
    stride: float | None
    parameters: int


def survey(model: nn.Module, example: Tensor) -> list[Candidate]:
    """The stages and blocks of a model in the order in which they run, from one forward.

    Layers inside a block are left out, as are layers that pass on what an inner one gave, and
    those whose output is no feature. Modes and random state are the caller's to keep.

    Args:
        model: Any module, on the device of the example.
        example: Images (B, C, H, W).
    """
    outputs: dict[str, Tensor] = {}
    modules = dict(model.named_modules())
    handles = [
        module.register_forward_hook(_Keep(path, outputs)) for path, module in modules.items()
    ]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    # Of several modules that give one and the same tensor the outermost ends last: it is kept.
    last = {id(tensor): path for path, tensor in outputs.items()}
    size = (example.shape[2], example.shape[3])
    found = [
        _candidate(path, outputs[path], modules[path], size)
        for path in last.values()
        if path and _inside_no_block(path, modules, outputs)
    ]
    return [candidate for candidate in found if candidate is not None]


class _Keep:
    def __init__(self, path: str, outputs: dict[str, Tensor]) -> None:
        self.path, self.outputs = path, outputs

    def __call__(self, module: nn.Module, args: object, output: object) -> None:
        try:
            self.outputs[self.path] = select(output, Tap(self.path))
        except AnyteacherError:
            return  # several tensors or none: no single feature


def _inside_no_block(path: str, modules: dict[str, nn.Module], outputs: dict[str, Tensor]) -> bool:
    """Whether everything around the module is a container, or gives no single tensor itself."""
    parts = path.split(".")
    around = [".".join(parts[:end]) for end in range(1, len(parts))]
    return all(isinstance(modules[p], _CONTAINERS) or p not in outputs for p in around)


def _candidate(
    path: str, output: Tensor, module: nn.Module, image_size: tuple[int, int]
) -> Candidate | None:
    if not output.is_floating_point():
        return None
    try:
        layout = detect(output.shape, image_size)
    except LayoutError:
        return None
    shape = tuple(output.shape[1:])
    grid = layout.grid
    if layout.kind == "map":
        grid = (shape[1], shape[2])
    elif layout.kind == "channels_last":
        grid = (shape[0], shape[1])
    return Candidate(
        path,
        layout.kind,
        shape,
        channels(output.shape, layout),
        grid,
        image_size[0] / grid[0] if grid else None,
        sum(p.numel() for p in module.parameters()),
    )


def suggest(
    student: Sequence[Candidate], teacher: Sequence[Candidate], most: int = 3
) -> list[tuple[Candidate, Candidate]]:
    """Pairs to start from, the deepest first.

    Of each of the student's grids the last layer before the head, with the last layer of the
    teacher whose stride is nearest. Where a student has no grid, its last two layers' vectors.
    """
    stages = {c.grid: c for c in student if c.grid and c.grid != (1, 1)}
    # The finest grids carry colour and edges rather than meaning; the deepest stages come first.
    ours = sorted(stages.values(), key=lambda c: -(c.stride or 0.0))[:most]
    spatial = [c for c in teacher if c.grid and c.grid != (1, 1)]
    if not ours or not spatial:
        ours, spatial = list(student[-2:-1] or student), list(teacher[:-1] or teacher)
    if not spatial:
        return []

    def distance(a: Candidate, b: Candidate) -> float:
        return abs(math.log((a.stride or 1.0) / (b.stride or 1.0)))

    pairs: list[tuple[Candidate, Candidate]] = []
    for mine in ours:
        nearest = min(distance(mine, theirs) for theirs in spatial)
        pairs.append((mine, [c for c in spatial if distance(mine, c) == nearest][-1]))
    return pairs
