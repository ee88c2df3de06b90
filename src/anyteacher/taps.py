"""Taps: the names of places in a model, and finding what they name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor, nn

from anyteacher.errors import TapError, did_you_mean

Side = Literal["output", "input"]
Point = tuple[str, Side]


@dataclass(frozen=True)
class Tap:
    """One place in a model.

    Args:
        path: Dotted path of a module, as in `model.named_modules()`; "" is the model itself.
        key: Which item, where the module gives a tuple, list or mapping: an index or a key.
        side: The module's output, or its (first) input.
        call: Which call, where the module runs several times in one forward; -1 is the last.
    """

    path: str
    key: int | str | None = None
    side: Side = "output"
    call: int = -1

    @classmethod
    def parse(cls, text: "str | Tap") -> "Tap":
        """A tap from its short form: `path`, `path[key]`, `input:path`.

        >>> Tap.parse("blocks.11")
        Tap(path='blocks.11', key=None, side='output', call=-1)
        >>> str(Tap.parse("input:encoder[last_hidden_state]"))
        'input:encoder[last_hidden_state]'
        """
        if isinstance(text, Tap):
            return text
        side: Side = "input" if text.startswith("input:") else "output"
        path = text.removeprefix("input:")
        key: int | str | None = None
        if path.endswith("]") and "[" in path:
            path, _, inner = path[:-1].partition("[")
            key = int(inner) if inner.removeprefix("-").isdecimal() else inner
        return cls(path, key, side)

    def __str__(self) -> str:
        item = "" if self.key is None else f"[{self.key}]"
        call = "" if self.call == -1 else f" (call {self.call})"
        return f"{'input:' if self.side == 'input' else ''}{self.path}{item}{call}"

    @property
    def point(self) -> Point:
        """Where the hook goes; taps that differ only by key or call share it."""
        return self.path, self.side


def find_module(model: nn.Module, path: str) -> nn.Module:
    """The module at a path; the wrappers of `torch.compile` and DDP may be left out of it.

    Raises:
        TapError: naming the nearest paths when there is none.
    """
    module = model
    for part in path.split(".") if path else ():
        while part not in module._modules:
            wrapped = [module._modules.get(name) for name in ("_orig_mod", "module")]
            inner = next((candidate for candidate in wrapped if candidate is not None), None)
            if inner is None:
                known = [name for name, _ in model.named_modules() if name]
                raise TapError(
                    f"{type(model).__name__} has no module '{path}'. {did_you_mean(path, known)} "
                    "`anyteacher taps` lists the candidates."
                )
            module = inner
        child = module._modules[part]
        if child is None:
            raise TapError(f"{type(model).__name__} has an empty slot at '{path}', not a module.")
        module = child
    return module


def tapped_module(model: nn.Module, tap: Tap) -> nn.Module | None:
    """The module that gives what is tapped; None where the tap is an input."""
    return find_module(model, tap.path) if tap.side == "output" else None


def select(value: Any, tap: Tap) -> Tensor:
    """The tensor in what a module gave or took.

    Raises:
        TapError: when there is none, or several and the tap names no item.
    """
    if tap.key is not None:
        try:
            value = value[_as_key(tap.key, value)]
        except (KeyError, IndexError, TypeError) as error:
            raise TapError(f"Tap '{tap}': no such item. It holds {describe(value)}.") from error
    if isinstance(value, Tensor):
        return value
    items = items_of(value)
    tensors = [item for item in items.values() if isinstance(item, Tensor)]
    if len(tensors) == 1:
        return tensors[0]
    example = next(iter(items), 0)
    hint = f"Name an item: '{replace(tap, key=example)}'." if items else "Tap another module."
    raise TapError(f"Tap '{tap}' holds {describe(value)}, not one tensor. {hint}")


def _as_key(key: int | str, value: Any) -> Any:
    """A mapping's item may be named by its place, and a key such as '0' by the number."""
    if isinstance(key, int) and isinstance(value, Mapping) and key not in value:
        return str(key) if str(key) in value else list(value)[key]
    return key


def items_of(value: Any) -> dict[Any, Any]:
    """The items of a mapping, list or tuple by key or place; none of anything else."""
    if isinstance(value, Mapping):
        return dict(value)
    return dict(enumerate(value)) if isinstance(value, tuple | list) else {}


def describe(value: Any) -> str:
    """A short text on what a module gave: types, keys and shapes."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    items = items_of(value)
    if not items:
        return f"a {type(value).__name__}"
    inner = ", ".join(f"{key}: {describe(item)}" for key, item in list(items.items())[:8])
    return f"a {type(value).__name__} of {len(items)} ({inner})"
