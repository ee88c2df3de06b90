"""Short runs by the command: taught, regularised without a teacher, and alone."""

import json
from pathlib import Path

from anyteacher import cli

CONFIG = f"--config={Path(__file__).parent / 'digits.yaml'}"
TRAILING = {"class_path": "TrailingEnergy", "init_args": {"rank": 4}}
ALONE = ["--teacher=null", "--distillation.links=[]"]
TRAIL = [
    "--teacher=null",
    f"--distillation.links={json.dumps([{'student': 'stages.1', 'loss': TRAILING}])}",
]


def fit(folder: Path, *flags: str) -> Path:
    """A run of ten steps on digits, its features looked at every third."""
    assert (
        cli.main(["fit", CONFIG, f"--output={folder}", "--distillation.observe_every=3", *flags])
        == 0
    )
    return folder
