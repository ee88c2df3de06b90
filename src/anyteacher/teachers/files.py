"""Teachers from files that hold the model itself: TorchScript and exported programs."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from anyteacher.errors import TeacherError
from anyteacher.layout import Size
from anyteacher.normalization import ImageNorm
from anyteacher.seeding import forked
from anyteacher.teacher import ChannelOrder, Teacher

# What a normalisation in training mode sets whenever it runs.
_COUNTED = ("running_mean", "running_var", "num_batches_tracked")
# Of the outputs' norm, what two runs of a frozen model may differ by: rounding does by less.
_ROUNDING = 1e-2


class Exported(Teacher):
    """A program of `torch.export`, a .pt2 file, with its modules to tap.

    The file says which sizes it takes: a height and width that are fixed become the teacher's size,
    and a batch that is fixed is refused. Its precision is written into the program, so there is no
    `dtype`. Such a file can hold code: load only what you trust.

    Args:
        path: The file that `torch.export.save` has written.
        weights: A checkpoint of the same model to load in place of its own weights.
        norm: The normalisation that the model was trained with; None takes images as they come.
        size: Height and width to resize to; None for what the file asks for.
        stop_early: See `Teacher`.
        order: See `Teacher`.

    Raises:
        TeacherError: when the file is missing or damaged, was exported in training mode, or takes
            batches of one size only.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        weights: str | Path | None = None,
        norm: ImageNorm | None = None,
        size: Size | None = None,
        stop_early: bool = True,
        order: ChannelOrder = "rgb",
    ) -> None:
        program = _opened(Path(path), "torch.export.save(program, path)", _load_program)
        _check_mode(program, path)
        only = _only_size(program, path)
        if only is not None and size is not None and only != tuple(size):
            raise TeacherError(
                f"'{path}' takes images of {only[0]} x {only[1]} only, and size is {tuple(size)}. "
                "Leave the size out, or export with dynamic heights and widths."
            )
        super().__init__(
            torch.export.unflatten(program),
            weights=weights,
            norm=norm,
            size=size or only,
            stop_early=stop_early,
            order=order,
        )
        self.title = "program of torch.export"
        self.origin = f"the weights of {weights or path}"

    def _apply(self, fn: Any, recurse: bool = True) -> "Exported":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        _move(self.model, self.device)
        return self


def _move(model: nn.Module, device: torch.device) -> None:
    """Moves what modules do not move: the constants of a program, and devices in its text."""
    for module in model.modules():
        constants = {k: v for k, v in vars(module).items() if isinstance(v, torch.Tensor)}
        for name, constant in constants.items():
            setattr(module, name, constant.to(device))
        graph = getattr(module, "graph", None)
        for node in graph.nodes if isinstance(graph, torch.fx.Graph) else ():
            if node.kwargs.get("device") is not None:
                node.kwargs = {**node.kwargs, "device": device}


class TorchScript(Teacher):
    """A TorchScript file, which runs as one piece: its output can be tapped, and nothing inside.

    A link's tap is `output` where that is one tensor, else `output[0]` for its first item or
    `output[name]` for one by name. For taps inside export the model with `torch.export`, or
    take the model's class with the weights. Such a file holds code: load only what you trust.

    Whether an image changes what another one gets is seen in outputs whose first axis is the batch.

    Args:
        path: The file that `torch.jit.save` has written.
        norm: The normalisation that the model was trained with; None takes images as they come.
        size: Height and width that the model wants; None takes images as they come.
        dtype: See `Teacher`.
        order: See `Teacher`.

    Raises:
        TeacherError: when the file is missing or damaged; with the first images, when it was traced
            in training mode.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        norm: ImageNorm | None = None,
        size: Size | None = None,
        dtype: torch.dtype | str | None = None,
        order: ChannelOrder = "rgb",
    ) -> None:
        scripted = _opened(Path(path), "torch.jit.save(scripted, path)", _load_script)
        whole = Whole(scripted, path)
        super().__init__(whole, norm=norm, size=size, dtype=dtype, order=order)
        self.title = f"{getattr(scripted, 'original_name', 'module')} of TorchScript"
        self.origin = f"the weights of {path}"


class Whole(nn.Module):
    """Stands around a scripted module, which takes no hooks.

    Args:
        scripted: The module.
        path: Its file, for a message.

    Attributes:
        output: A module that passes on what the scripted one gives, and takes them.
    """

    def __init__(self, scripted: nn.Module, path: str | Path) -> None:
        super().__init__()
        self.scripted, self.output = scripted, _Output()
        self._path, self._checked = path, 0

    def forward(self, images: torch.Tensor) -> Any:
        """What the scripted module gives.

        Raises:
            TeacherError: when it gives something else a second time.
        """
        # One image tells dropout, and two batch normalisation.
        if min(len(images), 2) > self._checked and not images.is_meta:
            self._check(images)
            self._checked = min(len(images), 2)
        return self.output(self.scripted(images))

    def _check(self, images: torch.Tensor) -> None:
        """Refuses a module that was traced in training mode, which its text does not say."""
        others = torch.cat([images[:1], 2 * images[1:] + 1])
        with forked():
            first, again, beside = (
                [(len(t), t[:1].double()) for t in tree_leaves(self.scripted(given)) if _listed(t)]
                for given in (images, images, others)
            )
        for other, why in ((again, "on the same images"), (beside, "beside other images")):
            if any(
                (a - b).norm() > _ROUNDING * a.norm()
                for (rows, a), (_, b) in zip(first, other, strict=True)
                # What has no row for each image is of all of them.
                if other is again or rows == len(images)
            ):
                raise TeacherError(
                    f"'{self._path}' gives something else for an image {why}: it was traced in "
                    "training mode, which cannot be changed afterwards. Trace it again after "
                    "model.eval()."
                )


class _Output(nn.Module):
    def forward(self, given: Any) -> Any:
        return given


def _listed(given: Any) -> bool:
    """Whether this is a tensor that has a first entry."""
    return isinstance(given, torch.Tensor) and given.ndim > 0


def _opened(path: Path, how: str, load: Callable[[str], Any]) -> Any:
    if not path.is_file():
        raise TeacherError(f"There is no file '{path}'. Give the path of an existing one.")
    # torch prints the traceback of a damaged program, and warns of a format that was chosen.
    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return load(str(path))
    except Exception as error:  # readers raise many types on a damaged file
        reason = (str(error).strip().splitlines() or [""])[0]
        raise TeacherError(
            f"'{path}' cannot be read ({type(error).__name__}: {reason}). It is damaged, of "
            f"another kind, or of a newer version of torch. Write it again with {how}."
        ) from error
    finally:
        logger.setLevel(level)


def _load_program(path: str) -> Any:
    return torch.export.load(path)


def _load_script(path: str) -> Any:
    return torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]


def _check_mode(program: Any, path: str | Path) -> None:
    """Refuses a program that draws numbers or learns: its mode was fixed when it was exported."""
    graphs = (m for m in program.graph_module.modules() if isinstance(m, torch.fx.GraphModule))
    nodes = (node for graph in graphs for node in graph.graph.nodes)
    found = [str(node.target) for node in nodes if node.op == "call_function" and _trains(node)]
    changed = program.graph_signature.buffers_to_mutate.values()
    found += [name for name in changed if name.endswith(_COUNTED)]
    if found:
        raise TeacherError(
            f"'{path}' was exported in training mode ({found[0]}), which cannot be changed "
            "afterwards. Export it again after model.eval()."
        )


def _trains(node: torch.fx.Node) -> bool:
    """Whether an operator of a program draws random numbers, or takes statistics of its batch."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return False
    names = [argument.name for argument in schema.arguments]
    given = {argument.name: argument.default_value for argument in schema.arguments}
    given = {**given, **dict(zip(names, node.args, strict=False)), **node.kwargs}
    asked = [given[name] for name in ("train", "training", "use_input_stats") if name in given]
    # Without running statistics eval mode takes those of its batch, too.
    if given.get("running_mean") is not None:
        return any(asked)
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    chances = [given[name] for name in ("p", "dropout_p") if name in given]
    return not (asked and not any(asked)) and chances != [0.0]


def _only_size(program: Any, path: str | Path) -> Size | None:
    """The only height and width that a program takes, if there is one."""
    (first, *_) = program.graph_signature.user_inputs or [None]
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    value: Any = placeholders[first].meta.get("val") if first in placeholders else None
    if not isinstance(value, torch.Tensor) or value.ndim != 4:
        raise TeacherError(
            f"'{path}' takes no images (B, C, H, W) as its first argument. Export a module that "
            "does."
        )
    sizes: tuple[Any, ...] = tuple(value.shape)  # symbols where any size will do
    batch, _, height, width = sizes
    if isinstance(batch, int):
        raise TeacherError(
            f"'{path}' takes batches of {batch} images only. Export it with a dynamic batch: "
            "torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},)), "
            "with two images or more."
        )
    fixed = isinstance(height, int) and isinstance(width, int)
    return (height, width) if fixed else None
