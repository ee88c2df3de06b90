"""Runs of the benchmark that are as short as can be."""

from anyteacher.bench.cell import Arm
from anyteacher.bench.problems import Budget

TINY = Budget(steps=4, batch=8, pixels=16, val=8, test=8, looks=2)
ALONE = Arm("depth", 16, "tiny")
TAUGHT = Arm("depth", 16, "tiny", "random", "tiny", "inverted", "inverted")
