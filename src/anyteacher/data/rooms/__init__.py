"""Rooms: the built-in benchmark of generated scenes, every target for every picture."""

from anyteacher.data.rooms.dataset import SPLITS, RoomsData, RoomsDataset, Split, scene_seeds
from anyteacher.data.rooms.render import EXTRA_TARGETS, TARGETS, VISIBLE_SHARE, render
from anyteacher.data.rooms.scene import CLASSES, KINDS, MAX_OBJECTS
from anyteacher.data.rooms.sheet import contact_sheet, write_contact_sheet
from anyteacher.data.rooms.store import default_cache

__all__ = [
    "CLASSES",
    "EXTRA_TARGETS",
    "KINDS",
    "MAX_OBJECTS",
    "SPLITS",
    "TARGETS",
    "VISIBLE_SHARE",
    "RoomsData",
    "RoomsDataset",
    "Split",
    "contact_sheet",
    "default_cache",
    "render",
    "scene_seeds",
    "write_contact_sheet",
]
