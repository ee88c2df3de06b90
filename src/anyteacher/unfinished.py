"""What completes a run that is not finished. It needs nothing that takes long to import."""

import shlex
from pathlib import Path

LAST = "last.ckpt"


def last_checkpoint(folder: Path) -> Path:
    """Where a run writes the state that it goes on from; not there before its first checkpoint."""
    return folder / "checkpoints" / LAST


def way_on(folder: Path) -> str:
    """The command that completes a run, in a sentence without its full stop.

    Args:
        folder: Of a run that has its `config.yaml`.
    """
    place = shlex.quote(str(folder))
    if last_checkpoint(folder).exists():
        return f"Go on with `anyteacher fit --resume --output {place}`"
    config = shlex.quote(str(folder / "config.yaml"))
    return (
        "It stopped before its first checkpoint; start it again with `anyteacher fit --config "
        f"{config} --output {place}`"
    )
