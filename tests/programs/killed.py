"""Starts a run again and again and kills each: `killed.py FOLDER STEP:DELAY …`.

Each start goes on from what is there, and gets SIGKILL so many seconds after that step has begun.
The starts are forks of this process, which pays the imports once.
"""

import os
import signal
import sys
import time
from pathlib import Path

import runs
import torch
from lightning.pytorch.callbacks import Callback

from anyteacher.experiment import fit


class Announce(Callback):
    """Writes into a pipe which step begins."""

    def __init__(self, pipe):
        self.pipe = pipe

    def on_train_batch_start(self, trainer, module, batch, index):
        os.write(self.pipe, f"{trainer.global_step}\n".encode())


def run(folder, pipe):
    torch.set_num_threads(1)
    options = {"checkpoint_every": 2, "trainer": runs.TRAINER, **runs.QUIET}
    fit(runs.experiment(dropout=0.2), folder, resume=True, callbacks=(Announce(pipe),), **options)


def kill(folder, step, delay):
    """The status with which the run ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        run(folder, writing)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as lines:
        for line in lines:
            if int(line) >= step:
                time.sleep(delay)
                os.kill(child, signal.SIGKILL)
                break
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    for point in sys.argv[2:]:
        step, delay = point.split(":")
        print(kill(Path(sys.argv[1]), int(step), float(delay)), flush=True)
