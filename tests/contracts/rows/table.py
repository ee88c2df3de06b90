"""The table of all losses, put together from the files of the families."""

import importlib
import pkgutil

import rows
from anyteacher.losses import Loss
from rows.base import Row

TABLE: dict[type[Loss], Row] = {}
for family in pkgutil.iter_modules(rows.__path__):
    if family.name != "table":
        TABLE |= getattr(importlib.import_module(f"rows.{family.name}"), "ROWS", {})
