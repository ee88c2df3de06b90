"""Links on given features, in every direction that they have."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from anyteacher import Link
from anyteacher.connection import Connection
from anyteacher.level import Source
from anyteacher.losses import DIRECTIONS, Direction

PROJECTED: tuple[Direction, ...] = ("inverted", "traditional")


@dataclass(frozen=True)
class Shape:
    """Features of both sides."""

    kind: str  # "map", "channels-last", "tokens", "vector"
    batch: int
    channels: int
    places: int = 1  # the side of a map, the number of tokens
    times: int = 4  # so many times the channels are the teacher's

    def __str__(self) -> str:
        where = {"tokens": f"{self.places} x ", "vector": ""}
        grid = where.get(self.kind, f"{self.places} x {self.places} x ")
        widths = f"{self.channels} from {self.times * self.channels}"
        return f"{self.kind} {grid}{widths}, batch {self.batch}"

    def sources(self, device: str) -> tuple[Source, Source]:
        """Random features; the student's needs a gradient, the teacher's does not."""
        widths = self.channels, self.times * self.channels
        ours, theirs = (self._feature(width, device) for width in widths)
        size = 16 * (math.isqrt(self.places) if self.kind == "tokens" else self.places)
        return Source(ours.requires_grad_(), (size, size)), Source(theirs, (size, size))

    def _feature(self, channels: int, device: str) -> Tensor:
        if self.kind == "tokens":
            return torch.randn(self.batch, self.places, channels, device=device)
        if self.kind == "vector":
            return torch.randn(self.batch, channels, device=device)
        x = torch.randn(self.batch, channels, self.places, self.places, device=device)
        last = self.kind == "channels-last"
        return x.contiguous(memory_format=torch.channels_last) if last else x


SHAPES = (
    Shape("map", 16, 64, 14),
    Shape("map", 64, 64, 8),
    Shape("map", 16, 256, 14),
    Shape("map", 16, 256, 8),
    Shape("channels-last", 16, 64, 14),
    Shape("channels-last", 16, 256, 8),
    Shape("tokens", 16, 192, 197),
    Shape("vector", 256, 64),
    Shape("vector", 256, 256),
)


class LinkAlone:
    """One link's projection and loss on given features, in the directions that it has.

    Attributes:
        student: The student's features, one a level.
        teacher: The teacher's, likewise.
        connections: The link made real, by direction.
        given: A class and a place in the training set for each image.
    """

    def __init__(self, shape: Shape, device: str = "cpu", link: Link | None = None) -> None:
        link = link or Link("", "")
        levels = [shape.sources(device) for _ in link.student_taps]
        self.shape, self.device, self.link = shape, device, link
        self.student = [student for student, _ in levels]
        self.teacher = [teacher for _, teacher in levels]
        self.connections = {
            way: Connection(link.filled(direction=way), self.student, self.teacher).to(device)
            for way in DIRECTIONS
            if way in link.loss.directions
            and (way != "none" or shape.times == 1 or not link.loss.equal_widths)
        }
        images = torch.arange(shape.batch, device=device)
        self.given = {"targets": images % shape.channels, "indices": images}

    def loss(self, direction: Direction) -> Tensor:
        """The forward."""
        connection = self.connections[direction]
        loss: Tensor = connection(self.student, self.teacher, self.given)
        return loss

    def wanted(self, direction: Direction) -> list[Tensor]:
        """What needs a gradient: the student's features, then the link's parameters."""
        return [*(source.feature for source in self.student), *self._learned(direction)]

    def gradients(self, direction: Direction) -> tuple[Tensor, ...]:
        """Forward and backward: the gradients of `wanted`."""
        return torch.autograd.grad(self.loss(direction), self.wanted(direction))

    def _learned(self, direction: Direction) -> list[Tensor]:
        return list(self.connections[direction].parameters())
