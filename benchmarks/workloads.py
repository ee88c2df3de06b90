"""What is timed: training steps of several pairs of models."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyteacher import Distiller, Link, Teacher
from anyteacher.errors import require
from anyteacher.losses import Direction
from anyteacher.models import EncoderDecoder
from benchmarks.links import PROJECTED


@dataclass
class Pair:
    """A student, a teacher, one tap of each, and the same teacher cut off there by hand."""

    name: str
    student: nn.Module
    teacher: nn.Module
    student_tap: str
    teacher_tap: str
    images: Tensor
    cut_off: Callable[[Any, Tensor], Tensor]  # model, images -> the tap's feature as a map


def encoder_decoders(batch: int = 16, size: int = 64, width: int = 16) -> Pair:
    """The student and the teacher of the built-in depth experiment."""

    def cut_off(teacher: EncoderDecoder, images: Tensor) -> Tensor:
        x = images.contiguous(memory_format=torch.channels_last)
        for stage in teacher.encoder:
            x = stage(x)
        return x

    return Pair(
        f"EncoderDecoder {width} from {3 * width // 2}, {size} px, batch {batch}",
        EncoderDecoder(1, width=width),
        EncoderDecoder(6, width=3 * width // 2),
        "encoder.3",
        "encoder.3",
        torch.rand(batch, 3, size, size),
        cut_off,
    )


def resnet_from_resnet(batch: int = 8, size: int = 64) -> Pair:
    """Four times the channels: 256 from 1024."""
    models = require("torchvision").models

    def cut_off(teacher: Any, images: Tensor) -> Tensor:
        x = teacher.maxpool(teacher.relu(teacher.bn1(teacher.conv1(images))))
        feature: Tensor = teacher.layer3(teacher.layer2(teacher.layer1(x)))
        return feature

    return Pair(
        f"ResNet-18 from ResNet-50, {size} px, batch {batch}",
        models.resnet18(),
        models.resnet50(),
        "layer3",
        "layer3",
        torch.rand(batch, 3, size, size),
        cut_off,
    )


def resnet_from_vit(batch: int = 8, size: int = 64) -> Pair:
    """Another family: maps of 512 channels from tokens of 192 channels."""

    def cut_off(teacher: Any, images: Tensor) -> Tensor:
        x = teacher.norm_pre(teacher.patch_drop(teacher._pos_embed(teacher.patch_embed(images))))
        patches: Tensor = teacher.blocks(x)[:, 1:]
        side = math.isqrt(patches.shape[1])
        return patches.transpose(1, 2).reshape(len(patches), -1, side, side)

    return Pair(
        f"ResNet-18 from ViT-tiny, {size} px, batch {batch}",
        require("torchvision").models.resnet18(),
        require("timm").create_model("vit_tiny_patch16_224", pretrained=False, img_size=size),
        "layer4",
        "blocks.11",
        torch.rand(batch, 3, size, size),
        cut_off,
    )


# The small images of the built-in benchmark, and those that such models are made for.
PAIRS: tuple[Callable[[], Pair], ...] = (
    encoder_decoders,
    resnet_from_resnet,
    resnet_from_vit,
    partial(resnet_from_resnet, size=224),
    partial(resnet_from_vit, size=224),
)


class Steps:
    """The same training step in several ways, each with a student of its own, equal at the start.

    - `floor`: student forward, backward and AdamW, and the teacher's forward up to the tap.
    - `by hand`: the same with an inverted link, written down without the library.
    - `inverted`, `traditional`: with the library.
    """

    def __init__(self, pair: Pair, device: str = "cpu") -> None:
        self.pair = pair
        self.images = pair.images.to(device)
        self.teacher = pair.teacher.to(device).eval().requires_grad_(False)
        self.distillers = {
            direction: Distiller(
                copy.deepcopy(pair.student).to(device).train(),
                Teacher(self.teacher),
                [Link(pair.student_tap, pair.teacher_tap, direction=direction)],
                example=self.images[:2],
                seed=0,
            )
            for direction in PROJECTED
        }
        self.students = {
            name: copy.deepcopy(pair.student).to(device).train()
            for name in ("floor", "floor again", "by hand")
        }
        inverted: Any = self.distillers["inverted"].connections[0]
        self.matrix = nn.Parameter(inverted.projector.linear.weight.detach().clone())
        self.tapped: list[Tensor] = []
        tap = self.students["by hand"].get_submodule(pair.student_tap)
        tap.register_forward_hook(lambda module, args, output: self.tapped.append(output))
        with torch.no_grad():
            prediction = copy.deepcopy(pair.student).to(device).eval()(self.images)
        self.target = torch.rand_like(prediction)

    def floor(self, name: str = "floor") -> Tensor:
        """The task's loss, next to a teacher that runs for nothing."""
        with torch.no_grad():
            self.pair.cut_off(self.teacher, self.images)
        prediction: Tensor = self.students[name](self.images)
        return F.mse_loss(prediction, self.target)

    def by_hand(self) -> Tensor:
        """The task's loss and that of an inverted link."""
        prediction = self.students["by hand"](self.images)
        with torch.no_grad():
            theirs = self.pair.cut_off(self.teacher, self.images)
        ours = self.tapped.pop()
        if theirs.shape[2:] != ours.shape[2:]:
            theirs = F.adaptive_avg_pool2d(theirs, (ours.shape[2], ours.shape[3]))
        link = F.mse_loss(ours, F.conv2d(theirs, self.matrix[:, :, None, None]))
        return F.mse_loss(prediction, self.target) + link

    def distilled(self, direction: Direction) -> Tensor:
        """The task's loss and that of the library's link."""
        output = self.distillers[direction](self.images)
        loss: Tensor = F.mse_loss(output.prediction, self.target) + output.total
        return loss

    def losses(self) -> dict[str, Callable[[], Tensor]]:
        """Every way to make a loss by name."""
        return {
            "floor": self.floor,
            "floor again": partial(self.floor, "floor again"),
            "by hand": self.by_hand,
            **{way: partial(self.distilled, way) for way in PROJECTED},
        }

    def sides(self) -> dict[str, Callable[[], None]]:
        """Every way as a whole step."""
        parameters = {name: list(student.parameters()) for name, student in self.students.items()}
        parameters["by hand"].append(self.matrix)
        for direction, distiller in self.distillers.items():
            parameters[direction] = list(distiller.trainable_parameters())
        optimizers = {n: torch.optim.AdamW(p, lr=1e-4) for n, p in parameters.items()}

        def side(name: str, loss: Callable[[], Tensor]) -> Callable[[], None]:
            def step() -> None:
                optimizers[name].zero_grad()
                torch.autograd.backward(loss())
                optimizers[name].step()

            return step

        return {name: side(name, loss) for name, loss in self.losses().items()}
