"""Every error that the library raises on purpose.

One base class, so that a caller can catch everything that anyteacher says about its input with one
`except`. Each message names the problem, what was given and what to do.
"""

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType

_EXTRA_OF = {
    "jsonargparse": "train",
    "lightning": "train",
    "numpy": "train",
    "PIL": "train",
    "rich": "train",
    "safetensors": "train",
    "sklearn": "train",
    "torchmetrics": "train",
    "yaml": "train",
    "datasets": "data",
    "h5py": "data",
    "scipy": "data",
    "torchvision": "torchvision",
    "timm": "timm",
    "transformers": "transformers",
    "segmentation_models_pytorch": "smp",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
}


class AnyteacherError(Exception):
    """Base of every error raised on purpose."""


class ConfigError(AnyteacherError):
    """A setting is wrong: an unknown name, an impossible value, two settings at odds."""


class TapError(AnyteacherError):
    """A tap names no module, was not reached, or holds no usable feature."""


class LayoutError(AnyteacherError):
    """The shape of a feature is not understood, or two features cannot be compared."""


class TeacherError(AnyteacherError):
    """A teacher cannot be built, loaded or recognised."""


class ExportError(AnyteacherError):
    """A student cannot be written in a format, or what was written is not the student."""


class NonFiniteError(AnyteacherError):
    """A loss or feature became infinite or not a number."""


class DataError(AnyteacherError):
    """A file or data set is missing, unreadable, or not what it claims to be."""


class CollapseWarning(UserWarning):
    """The student's features have lost most of their energy or of their rank."""


class MissingExtraError(AnyteacherError, ImportError):
    """An optional dependency is not installed."""


def did_you_mean(name: str, known: Iterable[str], limit: int = 3) -> str:
    """A hint with the nearest known names, or the list of all when nothing is near.

    >>> did_you_mean("layer5", ["layer3", "layer4", "fc"])
    'Did you mean layer4 or layer3?'
    >>> did_you_mean("x", ["layer3", "fc"])
    'Known: fc, layer3.'
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=limit, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    if not names:
        return "None is known."
    shown = ", ".join(names[:20])
    return f"Known: {shown}{', …' if len(names) > 20 else ''}."


def require(module: str) -> ModuleType:
    """Imports an optional dependency, or says which extra brings it.

    Raises:
        MissingExtraError: when the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        root = module.partition(".")[0]
        if root not in _EXTRA_OF:
            raise
        raise MissingExtraError(
            f"This needs {root}, which cannot be imported ({error}). "
            f"Install it with: pip install 'anyteacher[{_EXTRA_OF[root]}]'"
        ) from error
