"""Data: the built-in benchmarks, generated rooms and handwritten digits."""

from anyteacher.data.digits import DigitsData, DigitsDataset
from anyteacher.data.loading import ResumableLoader, ResumableSampler, collate
from anyteacher.data.rooms import RoomsData, RoomsDataset, write_contact_sheet

__all__ = [
    "DigitsData",
    "DigitsDataset",
    "ResumableLoader",
    "ResumableSampler",
    "RoomsData",
    "RoomsDataset",
    "collate",
    "write_contact_sheet",
]
