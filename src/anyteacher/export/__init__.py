"""The student alone, in the formats that it is put to use in."""

from anyteacher.export.command import export

__all__ = ["export"]
