"""Models as the command line has them: `timm:resnet18`, or an import path."""

import importlib
import inspect
from collections.abc import Callable

from torch import nn

from anyteacher.errors import AnyteacherError, ConfigError, did_you_mean
from anyteacher.methods.named import written_call
from anyteacher.normalization import ImageNorm
from anyteacher.teacher import Teacher
from anyteacher.teachers.files import Exported, TorchScript
from anyteacher.teachers.named import RANDOM
from anyteacher.teachers.smp import SegmentationModels
from anyteacher.teachers.timm import Timm
from anyteacher.teachers.torchvision import Torchvision
from anyteacher.teachers.transformers import Transformers


def _of_transformers(name: str) -> Teacher:
    folder, _, auto_class = name.partition(":")
    # A layer is where it is whatever the normalisation: none has to be found for it.
    return Transformers(
        folder, weights=RANDOM, auto_class=auto_class or "AutoModel", norm=ImageNorm()
    )


def _of_smp(name: str) -> Teacher:
    architecture, _, encoder = name.partition(":")
    return SegmentationModels(architecture, encoder=encoder or "resnet34", weights=RANDOM)


_KINDS: dict[str, Callable[[str], Teacher]] = {
    "timm": lambda name: Timm(name, weights=RANDOM),
    "torchvision": lambda name: Torchvision(name, weights=RANDOM),
    "transformers": _of_transformers,
    "smp": _of_smp,
    "exported": Exported,
    "torchscript": TorchScript,
}
FORMS = (
    "timm:NAME, torchvision:NAME, transformers:FOLDER (or FOLDER:AutoBackbone), smp:unet:ENCODER, "
    "exported:FILE, torchscript:FILE or the import path of a model, such as package.Class or "
    "'package.Class(width=24)'"
)


def written_model(text: str) -> Teacher:
    """The model that a text names, with random weights unless it is a file that holds its own.

    Raises:
        ConfigError: when there is none.
        TeacherError: when its library has none of this name, or a file cannot be read.
    """
    kind, colon, rest = text.partition(":")
    if not colon or "(" in kind:
        return Teacher(by_import_path(text))
    if kind not in _KINDS:
        raise ConfigError(f"No models are known from '{kind}'. {did_you_mean(kind, _KINDS)}")
    if not rest:
        raise ConfigError(f"'{text}' names no model. Write {FORMS}.")
    return _KINDS[kind](rest)


def by_import_path(name: str) -> nn.Module:
    """A model from `package.Class` or `package.Class(width=24)`; the values are literals.

    Raises:
        ConfigError: when there is none.
    """
    try:
        path, arguments = written_call(name)
        module, _, attribute = path.rpartition(".")
        found = importlib.import_module(module)
    except (ImportError, SyntaxError, ValueError) as error:
        raise ConfigError(f"'{name}' is neither {FORMS} ({error}).") from error
    if not hasattr(found, attribute):
        raise ConfigError(f"{module} has no '{attribute}'. {did_you_mean(attribute, dir(found))}")
    build = getattr(found, attribute)
    if not callable(build):
        raise ConfigError(f"'{name}' is a {type(build).__name__}, not a model.")
    known = inspect.signature(build).parameters
    try:
        inspect.signature(build).bind(**arguments)
    except TypeError as error:
        wrong = next((key for key in arguments if key not in known), "")
        hint = did_you_mean(wrong, known) if wrong else f"Takes: {', '.join(known)}."
        raise ConfigError(
            f"'{name}' cannot be built ({error}). {hint} Write '{module}.{attribute}(key=value)'."
        ) from error
    try:
        made = build(**arguments)
    except AnyteacherError:
        raise
    except Exception as error:  # a model's own code raises any type
        raise ConfigError(
            f"'{name}' cannot be built ({type(error).__name__}: {error}). Look at its arguments."
        ) from error
    if not isinstance(made, nn.Module):
        raise ConfigError(f"'{name}' gives a {type(made).__name__}, not a torch module.")
    return made
