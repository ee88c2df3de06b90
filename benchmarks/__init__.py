"""Measurements of the library, as commands."""
