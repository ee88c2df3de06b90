"""Rooms: the built-in benchmark of generated scenes, every target for every picture."""

from anyteacher.data.rooms.render import EXTRA_TARGETS, TARGETS, VISIBLE_SHARE, render
from anyteacher.data.rooms.scene import CLASSES, KINDS, MAX_OBJECTS

__all__ = [
    "CLASSES",
    "EXTRA_TARGETS",
    "KINDS",
    "MAX_OBJECTS",
    "TARGETS",
    "VISIBLE_SHARE",
    "render",
]
