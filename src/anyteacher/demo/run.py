"""Runs the demonstration."""

from pathlib import Path


def run_demo(folder: Path, *, quick: bool = False) -> Path:
    """Runs everything and writes the page."""
    return folder
