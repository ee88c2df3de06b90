"""Starts a run that never ends, in a process of its own whose number is told in a file."""

import os
import sys
import time
from pathlib import Path

from cells import ALONE, TINY

from anyteacher.bench.cell import Cell, Choice
from anyteacher.bench.runner import Crew


def call(command, rest):
    """In place of a command: the working folder is the benchmark's."""
    part = Path("pid.part")
    part.write_text(str(os.getpid()))
    part.rename("pid")
    time.sleep(600)


if __name__ == "__main__":
    with Crew(Path(sys.argv[1]), 1, call) as crew:
        list(crew.run([Cell("comparison", ALONE, Choice(), 0, TINY)]))
