"""A trained student by itself: what is left of training when it is put to use.

A file written by `anyteacher export` holds the weights and, as JSON, all that is needed to build
the student anew: `load_student` reads both. It needs torch, safetensors and the module that defines
the student's model.
"""

import importlib
import inspect
import json
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import AnyteacherError, DataError, LayoutError, require
from anyteacher.normalization import ImageNorm
from anyteacher.readout import Readout
from anyteacher.weights import load_weights

DESCRIPTION = "anyteacher"
"""The name that the description has in the metadata of each format."""

_EXPORT = "`anyteacher export RUN` writes a file that does."

Final: TypeAlias = Callable[[Tensor, tuple[int, int]], Tensor]


@final
class Student(nn.Module):
    """A model between its preprocessing and the final output of its task.

    Args:
        model: The student as it was trained.
        norm: How images in [0, 1] are normalised before the model sees them.
        readout: From the model's output, and the height and width of the images, to the final one.
        description: What it is, as in the exported file. Its `channels` are those of the images;
            without them any number is passed to the model.

    Attributes:
        description: That.
    """

    _scale: Tensor
    _shift: Tensor

    def __init__(
        self,
        model: nn.Module,
        *,
        norm: ImageNorm,
        readout: Final,
        description: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.model, self.readout, self.description = model, readout, dict(description)
        self._plain = norm == ImageNorm()
        for name, part in zip(("_scale", "_shift"), ImageNorm().to(norm), strict=True):
            self.register_buffer(name, part, persistent=False)
        self.eval()

    def forward(self, image: Float[Tensor, "b c h w"]) -> Tensor:
        """The final output for images in [0, 1], such as depth in metres.

        Raises:
            LayoutError: for images of another shape or type. A graph that was traced or compiled
                does not ask.
        """
        if not torch.compiler.is_compiling():
            self._check(image)
        output = self.model(image if self._plain else image * self._scale + self._shift)
        return self.readout(output, (image.shape[-2], image.shape[-1]))

    def _check(self, image: Tensor) -> None:
        channels, dtype = self.description.get("channels"), self._scale.dtype
        name = str(dtype).removeprefix("torch.")
        problem = ""
        if image.ndim == 3:
            problem = "Images come in batches: x[None] is a batch of one."
        elif image.ndim != 4 or channels not in (None, image.shape[1]):
            problem = "Bring them to that shape; channels come first."
        elif image.dtype != dtype:
            whole = not image.is_floating_point()
            cast = "x.float()" if dtype == torch.float32 else f"x.to(torch.{name})"
            problem = f"Give {cast} / 255 for bytes." if whole else f"Give {cast}."
        if problem:
            given = str(image.dtype).removeprefix("torch.")
            raise LayoutError(
                f"The student takes images (B, {channels or 'C'}, H, W) of {name} in [0, 1], got "
                f"{given} of shape {tuple(image.shape)}. {problem}"
            )


def load_student(path: str | Path) -> Student:
    """Reads a student that `anyteacher export --format safetensors` has written.

    Args:
        path: The file.

    Returns:
        The student on the CPU and in eval mode. It takes images (B, C, H, W) of float32 in [0, 1],
        where C is `description["channels"]`, and gives what `description["output"]` says.

    Raises:
        DataError: when there is no such file, it is damaged, or it does not say what it holds.
        TeacherError: when the weights do not belong to the model that it names.
    """
    path = Path(path)
    description = read_description(path)
    parts = description["norm"]
    try:
        norm = ImageNorm(*(tuple(float(value) for value in parts[key]) for key in ("mean", "std")))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"'{path}' does not say by which numbers `mean` and `std` images are normalised, but "
            f"{parts}. {_EXPORT}"
        ) from error
    model, readout = build(description["student"]), build(description["readout"])
    if not isinstance(model, nn.Module):
        raise DataError(f"The student of '{path}' is a {type(model).__name__}, no model. {_EXPORT}")
    load_weights(model, path)
    return Student(model, norm=norm, readout=readout, description=description)


def read_description(path: Path) -> dict[str, Any]:
    """What an exported safetensors file says of itself.

    Raises:
        DataError: when there is none, it cannot be read, or it does not say all that is needed.
    """
    if not path.is_file():
        raise DataError(f"There is no file '{path}'. Give one that `anyteacher export` wrote.")
    safetensors = require("safetensors")
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except Exception as error:  # of its own type, or the system's
        raise DataError(f"'{path}' is no safetensors file, or a damaged one ({error}).") from error
    if DESCRIPTION not in metadata:
        raise DataError(f"'{path}' holds weights and does not say of what. {_EXPORT}")
    try:
        description = json.loads(metadata[DESCRIPTION])
    except ValueError as error:
        raise DataError(
            f"What '{path}' says of its weights is no JSON ({error}). {_EXPORT}"
        ) from error
    needed = ("student", "norm", "readout")
    said = description if isinstance(description, dict) else {}
    lacking = [name for name in needed if not isinstance(said.get(name), dict)]
    if lacking:
        raise DataError(f"'{path}' says nothing of its {' and '.join(lacking)}. {_EXPORT}")
    return said


def build(description: Mapping[str, Any]) -> Any:
    """Calls what `class_path` names with `init_args` and `dict_kwargs`, those within them first.

    A file may come from anywhere, so nothing is called but what makes a model or a readout: a
    class of those, or a function that is annotated to return one.

    Raises:
        DataError: when it is something else, cannot be imported, or does not take the arguments.
    """
    path = description.get("class_path")
    given = [description.get(name) or {} for name in ("init_args", "dict_kwargs")]
    if not isinstance(path, str) or "." not in path or not all(isinstance(x, dict) for x in given):
        raise DataError(
            f"A class is described by its import path, `class_path`, and its arguments by name, "
            f"but the file says {dict(description)}. {_EXPORT}"
        )
    arguments = {name: _built(value) for part in given for name, value in part.items()}
    module, _, name = path.rpartition(".")
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise DataError(
            f"The student needs '{path}', which cannot be imported ({error}). Install it, or add "
            "the folder of its file to PYTHONPATH."
        ) from error
    if not _makes_model(make):
        raise DataError(
            f"'{path}' is no torch module, nor a function annotated to return one. What else a "
            "file names is not called."
        )
    try:
        return make(**arguments)
    except AnyteacherError:
        raise
    except Exception as error:  # of whatever type its constructor refuses them with
        raise DataError(
            f"'{path}' does not take the arguments that the student was made with ({error}). "
            "Install the version it was trained with."
        ) from error


def _makes_model(make: Any) -> bool:
    made = make
    if inspect.isfunction(make):

        def returns() -> None:
            """Has the annotation of the result alone: those of arguments may be for checkers."""

        returns.__annotations__ = {"return": make.__annotations__.get("return")}
        # A decorator of another module keeps the names that the function's own module knows.
        known = inspect.unwrap(make).__globals__
        try:
            made = typing.get_type_hints(returns, known)["return"]
        except NameError:  # likewise, and so unknown
            return False
    return inspect.isclass(made) and issubclass(made, nn.Module | Readout)


def _built(value: Any) -> Any:
    if isinstance(value, list):
        return [_built(item) for item in value]
    if isinstance(value, Mapping):
        if "class_path" in value:
            return build(value)
        return {key: _built(item) for key, item in value.items()}
    return value
