"""Reading weights into a model, safely, and telling models apart by their weights."""

import ctypes
import hashlib
import pickle
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anyteacher.errors import TeacherError, require

# Where common training scripts keep the model inside a checkpoint, and what they put before keys.
_CONTAINERS = ("state_dict", "model", "model_state_dict", "teacher", "student", "net")
_PREFIXES = (
    "module.",
    "_orig_mod.",
    "model.",
    "distiller.student.",
    "student.",
    "backbone.",
    "vision_model.",
)
_COUNT = ".num_batches_tracked"


def load_weights(model: nn.Module, path: str | Path, *, prefixes: Sequence[str] = ()) -> None:
    """Loads a checkpoint into a model; every key and shape must fit.

    Takes safetensors and torch files. Only tensors are read, never code. A state dict may lie
    inside a training checkpoint, and its keys may have the prefix of a wrapper.

    Args:
        model: It gets the weights.
        path: The checkpoint.
        prefixes: Further ones that its keys may have.

    Raises:
        TeacherError: when the file is not there, cannot be read, holds code, or belongs to
            another model.
    """
    load_state(model, read_state(path), path, prefixes=prefixes)


def read_state(path: str | Path) -> OrderedDict[str, Tensor]:
    """The state dict of a checkpoint, its keys as they are.

    Raises:
        TeacherError: when the file is not there, cannot be read, or holds code.
    """
    path = Path(path)
    return OrderedDict(_state_dict(_read(path), path))


def load_state(
    model: nn.Module, state: Mapping[str, Tensor], path: str | Path, *, prefixes: Sequence[str] = ()
) -> None:
    """Loads the state dict of a checkpoint into a model; every key and shape must fit.

    The batches that a normalisation has counted may be missing or too many: frozen
    normalisations and old checkpoints have no such numbers, and nothing in eval mode needs them.

    Args:
        model: It gets the weights.
        state: What `read_state` has read.
        path: For messages.
        prefixes: Further ones that its keys may have.

    Raises:
        TeacherError: when it belongs to another model.
    """
    expected = model.state_dict()
    fitting = without_prefix(state, expected, prefixes)
    counts = {key: value for key, value in expected.items() if key.endswith(_COUNT)}
    fitting = {
        key: value
        for key, value in {**counts, **fitting}.items()
        if key in expected or not key.endswith(_COUNT)
    }
    _check_fit(fitting, expected, path, type(model).__name__)
    # The versions of the modules, which some of them ask for; every key and shape is of this one.
    versioned = OrderedDict(fitting)
    versioned._metadata = expected._metadata  # type: ignore[attr-defined]
    model.load_state_dict(versioned)


def without_prefix(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], prefixes: Sequence[str] = ()
) -> dict[str, Tensor]:
    """A state dict without the prefix of a wrapper: the one that leaves most keys of a model.

    Args:
        state: What `read_state` has read.
        expected: The state dict of the model.
        prefixes: Further ones that its keys may have.
    """
    return max(
        (
            {key.removeprefix(p): value for key, value in state.items() if key.startswith(p)}
            for p in ("", *_PREFIXES, *prefixes)
        ),
        key=lambda candidate: len(candidate.keys() & expected.keys()),
    )


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of a model's state, for a safetensors file.

    Of what several modules share each gets its own: the format has no other way, and loaded into
    the model it is shared again.
    """
    state = model.state_dict()
    return {name: x.clone(memory_format=torch.contiguous_format) for name, x in state.items()}


def _read(path: Path) -> Any:
    if path.is_dir():
        raise TeacherError(
            f"'{path}' is a folder, and weights are in a file. Give the path of a checkpoint."
        )
    if not path.is_file():
        raise TeacherError(
            f"There is no checkpoint at '{path}'. Give the path of an existing file."
        )
    try:
        if path.suffix == ".safetensors":
            return require("safetensors.torch").load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise TeacherError(
            f"'{path}' cannot be read as weights alone: it is damaged, or a pickle that would run "
            "code when opened, which is refused. Save the model's state_dict() instead."
        ) from error
    except ImportError:
        raise
    except Exception as error:  # readers raise many types on a damaged file
        raise TeacherError(
            f"'{path}' is not a readable checkpoint, it may be truncated "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}). "
            "Copy or save it again."
        ) from error


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        for name in _CONTAINERS:
            if isinstance(content.get(name), Mapping):
                return _state_dict(content[name], path)
        state = {
            key: value
            for key, value in content.items()
            if isinstance(key, str) and isinstance(value, Tensor)
        }
        if state:
            return state
    raise TeacherError(
        f"'{path}' holds a {type(content).__name__} and no state dict. "
        "Save the model's state_dict() into it."
    )


def _check_fit(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: str | Path, model: str
) -> None:
    problems = [
        _listed("missing", [key for key in expected if key not in state]),
        _listed("unexpected", [key for key in state if key not in expected]),
        _listed(
            "of another shape",
            [
                f"{key} {tuple(state[key].shape)} for {tuple(expected[key].shape)}"
                for key in expected
                if key in state and state[key].shape != expected[key].shape
            ],
        ),
    ]
    if any(problems):
        raise TeacherError(
            f"'{path}' is a checkpoint of another model than this {model}: "
            f"{'; '.join(filter(None, problems))}. Build the model with the settings it was "
            "trained with, or give its own checkpoint."
        )


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:3])
    return f"{len(names)} keys {what} ({shown}{', …' if len(names) > 3 else ''})"


def fingerprint(model: nn.Module, *, without: Collection[str] = ()) -> str:
    """A hash of a model's parameters and buffers, by name, type and value.

    Args:
        model: Any module.
        without: Names that are left out.
    """
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor) and name not in without:
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            data = tensor.detach().cpu().contiguous()
            size = data.numel() * data.element_size()
            digest.update((ctypes.c_char * size).from_address(data.data_ptr()) if size else b"")
    return digest.hexdigest()
