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

from jaxtyping import Float
from torch import Tensor, nn

from anyteacher.errors import DataError, require
from anyteacher.normalization import ImageNorm
from anyteacher.readout import Readout
from anyteacher.weights import load_weights

DESCRIPTION = "anyteacher"
"""The name that the description has in the metadata of each format."""

Final: TypeAlias = Callable[[Tensor, tuple[int, int]], Tensor]


@final
class Student(nn.Module):
    """A model between its preprocessing and the final output of its task.

    Args:
        model: The student as it was trained.
        norm: How images in [0, 1] are normalised before the model sees them.
        readout: From the model's output, and the height and width of the images, to the final one.
        description: What it is, as in the exported file.

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
        """The final output for images in [0, 1], such as depth in metres."""
        output = self.model(image if self._plain else image * self._scale + self._shift)
        return self.readout(output, (image.shape[-2], image.shape[-1]))


def load_student(path: str | Path) -> Student:
    """Reads a student that `anyteacher export --format safetensors` has written.

    Args:
        path: The file.

    Returns:
        The student on the CPU and in eval mode. It takes images (B, C, H, W) in [0, 1] and gives
        what `description["output"]` says.

    Raises:
        DataError: when there is no such file, it is damaged, or it does not say what it holds.
        TeacherError: when the weights do not belong to the model that it names.
    """
    path = Path(path)
    description = read_description(path)
    norm = ImageNorm(*(tuple(description["norm"][key]) for key in ("mean", "std")))
    model = build(description["student"])
    load_weights(model, path)
    return Student(model, norm=norm, readout=build(description["readout"]), description=description)


def read_description(path: Path) -> dict[str, Any]:
    """What an exported safetensors file says of itself.

    Raises:
        DataError: when there is none, it cannot be read, or it says nothing.
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
        raise DataError(
            f"'{path}' holds weights and does not say of what. `anyteacher export RUN` writes a "
            "file that does."
        )
    return dict(json.loads(metadata[DESCRIPTION]))


def build(description: Mapping[str, Any]) -> Any:
    """Calls what `class_path` names with `init_args` and `dict_kwargs`, those within them first.

    A file may come from anywhere, so nothing is called but what makes a model or a readout: a
    class of those, or a function that is annotated to return one.

    Raises:
        DataError: when it is something else, cannot be imported, or does not take the arguments.
    """
    path = description["class_path"]
    arguments = {**(description.get("init_args") or {}), **(description.get("dict_kwargs") or {})}
    module, _, name = path.rpartition(".")
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
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
        return make(**{key: _built(value) for key, value in arguments.items()})
    except TypeError as error:
        raise DataError(
            f"'{path}' does not take the arguments that the student was made with ({error}). "
            "Install the version it was trained with."
        ) from error


def _makes_model(make: Any) -> bool:
    made = make
    if inspect.isfunction(make):
        made = typing.get_type_hints(make).get("return")
    return inspect.isclass(made) and issubclass(made, nn.Module | Readout)


def _built(value: Any) -> Any:
    if isinstance(value, list):
        return [_built(item) for item in value]
    if isinstance(value, Mapping):
        if "class_path" in value:
            return build(value)
        return {key: _built(item) for key, item in value.items()}
    return value
