"""An adversary and a history in one process, and in two: `adversary_parallel.py FOLDER`."""

import sys
from pathlib import Path

import group
import torch
import torch.distributed as dist

from anyteacher.tasks.adversary import Adversarial, Adversary
from anyteacher.tasks.history import History


def run(world: int, rank: int, meeting: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    torch.manual_seed(rank)  # as where nobody has seeded: each process draws weights of its own
    adversary = Adversary(Adversarial(width=4, layers=2), channels=6)
    adversary.network.double()
    torch.manual_seed(0)
    batch = torch.rand(2, 4, 6, 16, 16, dtype=torch.float64)
    share = batch[:, rank::world]
    losses = []
    for _ in range(3):
        losses.append(float(adversary.learn(*share)))
        adversary.step()
    state = adversary.network.state_dict()
    history = History(4)
    history.mixed(share[0])
    kept = history.state(torch.device("cpu"))
    assert torch.equal(kept, torch.cat([batch[0, first::world] for first in range(world)]))
    resumed = History(4)
    resumed.resume(kept)
    assert torch.equal(torch.stack(resumed.pictures), torch.stack(history.pictures))
    torch.save((losses, state), meeting.with_name(f"{world}-{rank}.pt"))
    group.leave()


if __name__ == "__main__":
    group.fork((1, 2), run, Path(sys.argv[1]))
