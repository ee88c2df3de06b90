"""An adversary in one process and in two that share the batch: `adversary_parallel.py FOLDER`."""

import sys
from pathlib import Path

import group
import torch
import torch.distributed as dist

from anyteacher.tasks.adversary import Adversarial, Adversary


def run(world: int, rank: int, meeting: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    torch.manual_seed(0)
    adversary = Adversary(Adversarial(width=4, layers=2), channels=6)
    adversary.network.double()
    batch = torch.rand(3, 4, 3, 16, 16, dtype=torch.float64)
    share = batch[:, rank::world]
    losses = [float(adversary.learn(*share)) for _ in range(3)]
    state = adversary.network.state_dict()
    torch.save((losses, state), meeting.with_name(f"{world}-{rank}.pt"))
    group.leave()


if __name__ == "__main__":
    group.fork((1, 2), run, Path(sys.argv[1]))
