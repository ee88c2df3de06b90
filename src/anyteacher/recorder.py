"""Reading the features behind taps while a model runs, and without touching it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from anyteacher.errors import TapError
from anyteacher.taps import Point, Tap, find_module, items_of, select


class _Stop(BaseException):
    """Ends a forward after its last tap. Not an Exception: no model's `except` must catch it."""


@dataclass
class _Capture:
    """What the hooks share. Plain data, so that a model with hooks still copies and pickles."""

    active: bool = False
    values: dict[Point, list[Any]] = field(default_factory=dict)
    versions: dict[Point, list[int]] = field(default_factory=dict)
    grad: dict[Point, bool] = field(default_factory=dict)
    order: list[tuple[Point, int]] = field(default_factory=list)
    probing: bool = False
    clone: set[Point] = field(default_factory=set)
    stop: tuple[Point, int] | None = None

    def reset(self) -> None:
        """Forgets what one forward recorded."""
        self.values.clear()
        self.versions.clear()
        self.grad.clear()
        self.order.clear()


class _Hook:
    """Records at one point while a forward is watched, and does nothing otherwise."""

    def __init__(self, capture: _Capture, point: Point) -> None:
        self.capture, self.point = capture, point

    def __call__(self, module: nn.Module, args: tuple[Any, ...], third: Any) -> None:
        # Inactive outside of a watched forward: a recomputation for activation checkpointing, or
        # a user's own call of the model, must neither record nor keep anything alive.
        if not self.capture.active:
            return
        capture, point = self.capture, self.point
        if point[1] == "output":
            value = third
        else:  # a hook before the forward: `third` holds the keyword arguments
            value = args[0] if args else next(iter(third.values()), None)
        if point in capture.clone:
            value = _map_tensors(value, Tensor.clone)
        seen = capture.values.setdefault(point, [])
        seen.append(value)
        capture.grad[point] = torch.is_grad_enabled()
        if capture.probing:
            capture.order.append((point, len(seen)))
        if not torch.compiler.is_compiling():
            capture.versions.setdefault(point, []).append(_version(value))
        if capture.stop == (point, len(seen)) and not torch.compiler.is_compiling():
            raise _Stop


class Recorder:
    """Runs a model and returns what the taps saw.

    The hooks stay on the model until `remove`, so that the surrounding step can be compiled; they
    do nothing outside of `run`. A module that runs several times, at one path or at several that
    share it, is read at the call that the tap names.

    Args:
        model: Any module.
        taps: Where to read.

    Raises:
        TapError: for a path that the model has not, naming the nearest ones, or one inside of
            TorchScript.
    """

    def __init__(self, model: nn.Module, taps: Sequence[Tap]) -> None:
        self.model = model
        self.taps = tuple(taps)
        self._capture = _Capture()
        self._handles: list[RemovableHandle] = []
        points = dict.fromkeys(tap.point for tap in self.taps)
        modules = [find_module(model, path) for path, _ in points]  # all, before any hook is set
        for (path, _), module in zip(points, modules, strict=True):
            if isinstance(module, torch.jit.ScriptModule):
                raise TapError(
                    f"Tap '{path}' lies inside of TorchScript, which runs as one piece and takes "
                    "no hooks. Tap what it gives (of teachers.TorchScript `output`, or an item as "
                    "`output[0]`), or export the model with torch.export."
                )
        for point, module in zip(points, modules, strict=True):
            hook = _Hook(self._capture, point)
            if point[1] == "input":
                handle = module.register_forward_pre_hook(hook, with_kwargs=True)
            else:
                handle = module.register_forward_hook(hook)
            self._handles.append(handle)

    def probe(self, *args: Any, stop_early: bool = False, **kwargs: Any) -> dict[Tap, Tensor]:
        """One forward without gradients that learns what later ones need to know.

        That is: which features a later module overwrites in place (they are copied from now on),
        and, with `stop_early`, after which call nothing more is needed. Modes, buffers and the
        random state are the caller's to keep.

        Raises:
            TapError: when a tap is not reached, or holds no single tensor.
        """
        capture = self._capture
        # Inside compiled code nobody can see that a feature is overwritten.
        eagerly = torch.compiler.set_stance("force_eager")
        with torch.no_grad(), eagerly, self._watch(probing=True):
            self.model(*args, **kwargs)
            features = self._collect()
            overwritten = self._overwritten()
            capture.clone.update(overwritten)
            if any(map(_drops_in_place, self.model.modules())):
                # It leaves the features alone now, in eval mode, and not in training.
                capture.clone.update(tap.point for tap in self.taps)
            if overwritten:
                capture.reset()
                self.model(*args, **kwargs)
                features = self._collect()
            if stop_early:
                capture.stop = self._last_needed()
        return features

    def _overwritten(self) -> set[Point]:
        """The points whose features were changed in place after they were recorded."""
        capture = self._capture
        return {
            point
            for point, versions in capture.versions.items()
            if versions != [_version(value) for value in capture.values[point]]
        }

    def _last_needed(self) -> tuple[Point, int] | None:
        counts = {point: len(values) for point, values in self._capture.values.items()}
        needed = {
            (tap.point, tap.call % counts[tap.point] + 1)
            for tap in self.taps
            if tap.point in counts
        }
        return next((event for event in reversed(self._capture.order) if event in needed), None)

    def run(self, *args: Any, **kwargs: Any) -> tuple[Any, dict[Tap, Tensor]]:
        """The model's output (None where the forward was stopped early) and the features.

        Raises:
            TapError: when a tap is not reached, holds no single tensor, lies inside a reentrant
                activation checkpoint, where no gradient can reach it, or holds a feature that was
                overwritten in place though the probe saw it left alone.
        """
        with self._watch(probing=False):
            output = None
            with suppress(_Stop):
                output = self.model(*args, **kwargs)
            if overwritten := self._overwritten():
                places = ", ".join(sorted(path for path, _ in overwritten))
                raise TapError(
                    f"The feature of '{places}' is overwritten in place by a later module, in this "
                    "forward and not in the probe. Set inplace=False there, or tap that module."
                )
            return output, self._collect()

    def twin(self) -> "Recorder":
        """Another recorder on the same model, with hooks of its own and what the probe learned."""
        other = Recorder(self.model, self.taps)
        other._capture.clone = set(self._capture.clone)
        other._capture.stop = self._capture.stop
        return other

    @contextmanager
    def _watch(self, *, probing: bool) -> Iterator[None]:
        capture = self._capture
        capture.active, capture.probing = True, probing
        try:
            yield
        finally:
            capture.active = capture.probing = False
            capture.reset()

    def _collect(self) -> dict[Tap, Tensor]:
        return {tap: self._feature(tap) for tap in self.taps}

    def _feature(self, tap: Tap) -> Tensor:
        capture = self._capture
        calls = capture.values.get(tap.point, [])
        if not -len(calls) <= tap.call < len(calls):
            times = f"ran {len(calls)} times" if calls else "was not reached"
            raise TapError(
                f"Tap '{tap}': the module {times} in this forward of {type(self.model).__name__}. "
                "Tap a module that every forward runs, or leave `call` at -1. A model that was "
                "compiled and run before sees no taps: make the distiller first."
            )
        if torch.is_grad_enabled() and not capture.grad[tap.point]:
            raise TapError(
                f"Tap '{tap}' was read where gradients are off: the model's own no_grad, or a "
                "reentrant activation checkpoint. Use checkpoint(…, use_reentrant=False), or tap "
                "the checkpointed block from outside."
            )
        return select(calls[tap.call], tap)

    def remove(self) -> None:
        """Takes the hooks off the model."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def _map_tensors(value: Any, function: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: _map_tensors(item, function) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_map_tensors(item, function) for item in value)
    return value


def _version(value: Any) -> int:
    """A number that changes when a tensor in the value is overwritten."""
    if isinstance(value, Tensor):
        return 0 if value.is_inference() else value._version  # inference tensors do not count
    return sum(_version(item) for item in items_of(value).values())


def _drops_in_place(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.dropout._DropoutNd) and module.inplace and module.p > 0
