"""Which layers of a model are worth a tap, and which of two models go together."""

import math
from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from anyteacher.errors import AnyteacherError, LayoutError
from anyteacher.layout import Kind, channels, detect
from anyteacher.taps import Tap, items_of, select

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
    those whose output is no feature. A model inside the model (`encoder`, `backbone`) is looked
    into; of one in a single piece, such as TorchScript, the outputs are listed. Modes and random
    state are the caller's to keep.

    Args:
        model: Any module, on the device of the example.
        example: Images (B, C, H, W).
    """
    outputs: dict[str, Tensor] = {}
    modules = {
        path: module
        for path, module in model.named_modules()
        if path and not isinstance(module, torch.jit.ScriptModule)
    }
    handles = [
        module.register_forward_hook(_Keep(path, outputs)) for path, module in modules.items()
    ]
    try:
        with torch.no_grad():
            given = model(example)
    finally:
        for handle in handles:
            handle.remove()
    # Of several modules that give one and the same tensor the outermost ends last: it is kept,
    # unless it is the list of all blocks, whose last block has the better name.
    stacks = {path for path in modules if _is_stack(path, modules)}
    kept: dict[int, str] = {}
    for path, tensor in outputs.items():
        if path not in stacks and (id(tensor) not in kept or not _holds_all_blocks(path, modules)):
            kept[id(tensor)] = path
    size = (example.shape[2], example.shape[3])
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        return _of_one_piece(given, next(reversed(modules), ""), model, size)
    found = [
        _candidate(path, outputs[path], modules[path], size)
        for path in kept.values()
        if _inside_no_block(path, modules, outputs.keys() - stacks)
    ]
    return [candidate for candidate in found if candidate is not None]


def _of_one_piece(
    given: object, path: str, model: nn.Module, size: tuple[int, int]
) -> list[Candidate]:
    """What a model gives, by item."""
    items: dict[str | int | None, object] = items_of(given) or {None: given}
    tensors = {str(Tap(path, key)): item for key, item in items.items() if isinstance(item, Tensor)}
    found = [_candidate(name, tensor, model, size) for name, tensor in tensors.items()]
    return [candidate for candidate in found if candidate is not None]


class _Keep:
    def __init__(self, path: str, outputs: dict[str, Tensor]) -> None:
        self.path, self.outputs = path, outputs

    def __call__(self, module: nn.Module, args: tuple[object, ...], output: object) -> None:
        passed_on = any(output is argument for argument in args)
        if passed_on and not getattr(module, "inplace", False):
            return  # an identity, or dropout in eval mode
        try:
            self.outputs[self.path] = select(output, Tap(self.path))
        except AnyteacherError:
            return  # several tensors or none: no single feature


def _holds_all_blocks(path: str, modules: dict[str, nn.Module]) -> bool:
    """Whether it is the one list of blocks of its parent (`blocks`, not `layer1` to `layer4`)."""
    parent = path.rpartition(".")[0]
    lists = [
        other
        for other, module in modules.items()
        if other.rpartition(".")[0] == parent and _blocks(module) == _blocks(modules[path])
    ]
    return _blocks(modules[path]) is not None and lists == [path]


def _is_stack(path: str, modules: dict[str, nn.Module]) -> bool:
    """Whether it is a model in the model, such as `encoder`: lists of blocks, and no second of it.

    What it gives is what a layer inside gives; its blocks are what can be tapped.
    """
    module = modules[path]
    if _is_list(module):  # of stages that are lists themselves: the last of them is the better name
        return any(_blocks(stage) is not None for stage in module.children())
    parent = path.rpartition(".")[0]
    again = any(
        other.rpartition(".")[0] == parent and _form(found) == _form(module)
        for other, found in modules.items()
        if other != path
    )
    return not again and any(_blocks(inner) is not None for inner in module.modules())


def _is_list(module: nn.Module) -> bool:
    """Whether its modules are numbered, or it only holds them; exported programs lose the type."""
    names = [name for name, _ in module.named_children()]
    return isinstance(module, _CONTAINERS) or (bool(names) and all(map(str.isdecimal, names)))


def _form(module: nn.Module) -> tuple[type, tuple[str, ...]]:
    """By which modules count as alike: type and children, since exported ones have one type."""
    return type(module), tuple(name for name, _ in module.named_children())


def _blocks(module: nn.Module) -> type | None:
    """The type of the blocks of which it is a list; None where it is not one."""
    blocks = list(module.children())
    alike = len(blocks) > 1 and len({type(block) for block in blocks}) == 1
    return type(blocks[0]) if _is_list(module) and alike and any(blocks[0].children()) else None


def _inside_no_block(path: str, modules: dict[str, nn.Module], blocks: Set[str]) -> bool:
    """Whether all around the module is a container or gives no single tensor; stages are blocks."""
    parts = path.split(".")
    around = [".".join(parts[:end]) for end in range(1, len(parts))]
    containers = [_is_list(modules[p]) for p in around]
    # A Sequential in a list of stages is a block itself, if single layers are what it holds.
    layer_of_stage = len(parts) > 2 and all(containers) and not any(modules[path].children())
    return not layer_of_stage and all(
        container or p not in blocks for container, p in zip(containers, around, strict=True)
    )


def _candidate(
    path: str, output: Tensor, module: nn.Module, image_size: tuple[int, int]
) -> Candidate | None:
    if not output.is_floating_point() or tuple(output.shape[1:]) == image_size:
        return None  # no feature, or a map of one number a pixel without an axis of channels
    try:
        layout = detect(output.shape, image_size)
    except LayoutError:
        return None
    shape = tuple(output.shape[1:])
    if layout.kind == "tokens" and shape[1] == 1:
        return None  # means over tokens, or one number each
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

    Of each grid the layer with the most parameters (a whole stage where there is one, or the last
    of the blocks), the student's with the teacher's whose stride is nearest. A model with one grid
    throughout, such as a vision transformer, has no stages: its blocks are taken at even depths,
    the last first. Where a model has no grid, the last layers before the head.
    """
    ours, theirs = _stages(student, most), _stages(teacher, most)
    if not ours or not theirs:
        return [(student[-2:][0], teacher[-2:][0])] if student and teacher else []
    if len({candidate.grid for candidate in ours}) < len(ours):  # blocks: one for each stage
        ours = _stages(student, len(theirs))
        return list(zip(ours, theirs, strict=False))
    if len({candidate.grid for candidate in theirs}) < len(theirs):
        return list(zip(ours, _stages(teacher, len(ours)), strict=False))

    def distance(a: Candidate, b: Candidate) -> float:
        return abs(math.log((a.stride or 1.0) / (b.stride or 1.0)))

    every = _largest(teacher).values()
    return [(mine, min(every, key=lambda c: distance(mine, c))) for mine in ours]


def _stages(candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    """The deepest stages, one a grid; or as many blocks at even depths where the grid is one."""
    spatial = _largest(candidates)
    if len(spatial) == 1:
        (largest,) = spatial.values()
        same = [c for c in candidates if c.grid == largest.grid]
        stems = [_stem(c) for c in same]
        # The blocks proper are a list; an embedding or a normalisation beside them is not.
        blocks = _largest([c for c in same if stems.count(_stem(c)) > 1]) or spatial
        last = blocks[cast("tuple[int, int]", largest.grid)]
        listed = [c for c in same if _stem(c) == _stem(last)]
        count = min(most, len(listed))
        return [listed[len(listed) * (count - k) // count - 1] for k in range(count)]
    # The finest grids carry colour and edges rather than meaning; the deepest stages come first.
    return sorted(spatial.values(), key=lambda c: -(c.stride or 0.0))[:most]


def _largest(candidates: Sequence[Candidate]) -> dict[tuple[int, int], Candidate]:
    """Of each grid the layer with the most parameters, or the last of blocks that have more."""
    weights: dict[tuple[str, tuple[int, int] | None], int] = defaultdict(int)
    for candidate in candidates:
        weights[_stem(candidate), candidate.grid] += candidate.parameters
    found: dict[tuple[int, int], Candidate] = {}
    for candidate in candidates:
        grid = candidate.grid
        if grid is None or grid == (1, 1):
            continue
        weight = weights[_stem(candidate), grid]
        if grid not in found or weight >= weights[_stem(found[grid]), grid]:
            found[grid] = candidate
    return found


def _stem(candidate: Candidate) -> str:
    """What the blocks of one list have in common: the path without its number."""
    return candidate.path.rstrip("0123456789")
