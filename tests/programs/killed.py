"""A run that waits for nobody: `killed.py FOLDER RESUME`, to be killed at any moment."""

import sys
from pathlib import Path

import runs
import torch
from lightning.pytorch.callbacks import Callback

from anyteacher.experiment import fit


class Announce(Callback):
    """Says on standard output which step begins."""

    def on_train_batch_start(self, trainer, module, batch, index):
        print(trainer.global_step, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    fit(
        runs.experiment(dropout=0.2),
        Path(sys.argv[1]),
        resume=sys.argv[2] == "resume",
        checkpoint_every=2,
        callbacks=(Announce(),),
        trainer=runs.TRAINER,
        **runs.QUIET,
    )
