"""One function for each format: writes the student and checks what was written."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from anyteacher.errors import ExportError, require
from anyteacher.export.agreement import agreement
from anyteacher.export.freedom import Freedom, freest
from anyteacher.images import replacing
from anyteacher.student import DESCRIPTION, Student, load_student
from anyteacher.weights import weights_of


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        path: The file.
        takes: What images it takes.
        why: Why it takes no others; empty where it takes all that could be.
        sized: Whether it depends on the size that it was made with.
        difference: The largest found by the check, as a share of the range; None without a check.
    """

    path: Path
    takes: str
    why: str
    sized: bool
    difference: float | None


@dataclass(frozen=True)
class Order:
    """What is to be exported.

    Attributes:
        student: It.
        folder: Where to.
        channels: Of the images.
        size: Height and width of the images that graphs are made with.
        check: Whether files are read back and compared with the student.
    """

    student: Student
    folder: Path
    channels: int
    size: tuple[int, int]
    check: bool = True


# Writes one file; raises `ExportError` when it cannot, and then leaves none.
Format: TypeAlias = Callable[[Order], Written]


def safetensors(order: Order) -> Written:
    """The weights, with the description in the metadata. `anyteacher.load_student` reads it."""
    student, path = order.student, order.folder / "student.safetensors"
    state = weights_of(student.model)
    text = {DESCRIPTION: json.dumps(student.description)}
    shapes = Freedom(order.channels, order.size, step=0).shapes()
    with replacing(path) as part:
        part.write_bytes(require("safetensors.torch").save(state, metadata=text))
        found = agreement(student, load_student(part), shapes) if order.check else None
    return Written(path, "what the model takes", "", sized=False, difference=found)


def torch_export(order: Order) -> Written:
    """A program of `torch.export`, with the description as the extra file `anyteacher`."""
    path = order.folder / "student.pt2"

    def make(freedom: Freedom) -> ExportedProgram:
        return traced(order.student, freedom)

    def read(part: Path) -> Callable[[Tensor], Tensor]:
        return torch.export.load(part).module()

    program, freedom, why = freest(order.student, make, order.channels, order.size)
    with replacing(path) as part:
        text = json.dumps(described(order.student, freedom))
        content = BytesIO()  # a file's temporary name would be written into it
        torch.export.save(program, content, extra_files={DESCRIPTION: text})
        part.write_bytes(content.getbuffer())
        found = _checked(order, freedom, lambda: read(part))
    return Written(path, str(freedom), why, sized=freedom.step != 1, difference=found)


def onnx(order: Order) -> Written:
    """An ONNX model in one file, with the description in its metadata."""
    runtime, _ = require("onnxruntime"), [require(name) for name in ("onnx", "onnxscript")]
    path = order.folder / "student.onnx"

    def make(freedom: Freedom) -> Any:
        names = {axis: name for axis, name in enumerate(freedom.axes()) if isinstance(name, str)}
        return torch.onnx.export(
            traced(order.student, freedom),
            dynamo=True,
            dynamic_shapes={"image": names},
            input_names=["image"],
            output_names=["output"],
            verbose=False,
        )

    def read(part: Path) -> Callable[[Tensor], Tensor]:
        session = runtime.InferenceSession(part, providers=["CPUExecutionProvider"])
        return lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0])

    program, freedom, why = freest(order.student, make, order.channels, order.size)
    text = json.dumps(described(order.student, freedom))
    program.model.metadata_props[DESCRIPTION] = text
    with replacing(path) as part:
        program.save(part, external_data=False)
        found = _checked(order, freedom, lambda: read(part))
    return Written(path, str(freedom), why, sized=freedom.step != 1, difference=found)


FORMATS: dict[str, Format] = {"safetensors": safetensors, "torch": torch_export, "onnx": onnx}


def traced(student: Student, freedom: Freedom) -> ExportedProgram:
    """The graph of a student, as free as asked.

    Raises:
        Exception: of many types, when the model does not allow that.
    """
    # A side that is a multiple of 32 is traced as 32 times an open number.
    sides = {
        0: (Dim.STATIC, Dim.STATIC),
        1: (Dim.DYNAMIC, Dim.DYNAMIC),
    }.get(freedom.step) or (freedom.step * Dim("rows"), freedom.step * Dim("columns"))
    batch = Dim("batch") if freedom.step > 1 else Dim.DYNAMIC
    axes = (batch if freedom.batch else Dim.STATIC, Dim.STATIC, *sides)
    program = torch.export.export(
        student, (torch.rand(freedom.example),), dynamic_shapes={"image": axes}
    )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine, which would be in the file
    run = program.module()
    for shape in freedom.shapes():  # a grid of one position may be fixed, and only shows here
        run(torch.rand(shape))
    return program


def described(student: Student, freedom: Freedom) -> dict[str, Any]:
    """The description, with the shape of the images that a graph takes."""
    more = {"step": freedom.step} if freedom.step > 1 else {}
    return {**student.description, "shape": freedom.axes(), **more}


def _checked(
    order: Order, freedom: Freedom, read: Callable[[], Callable[[Tensor], Tensor]]
) -> float | None:
    if not order.check:
        return None
    try:
        return agreement(order.student, read(), freedom.shapes())
    except ExportError:
        raise
    except Exception as error:  # of the runtime, of any type
        raise ExportError(
            f"The exported student cannot be run ({error}). Choose another format, or --check "
            "false to write it all the same."
        ) from error
