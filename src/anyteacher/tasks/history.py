"""Made pictures of earlier steps, for an adversary to look at beside those of now."""

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.errors import ConfigError
from anyteacher.parallel import gather, rank, world_size


class History:
    """A pool of made pictures, half of which an adversary is shown in place of new ones.

    So it does not forget what it told apart before, and what makes the pictures cannot go round in
    circles (Shrivastava et al., "Learning from Simulated and Unsupervised Images through
    Adversarial Training", CVPR 2017). What is drawn comes from torch's global generator on the CPU.

    Args:
        size: how many pictures a process keeps; 0 for none.

    Raises:
        ConfigError: when the size is negative.
    """

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ConfigError(f"A history keeps 0 pictures or more, got {size}.")
        self.size = size
        self.pictures: list[Tensor] = []

    def mixed(self, made: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """New pictures, about half of them exchanged for kept ones once the pool is full."""
        shown = []
        for picture in made.detach():
            if len(self.pictures) < self.size:
                self.pictures.append(picture)
            elif self.size and torch.rand(()) < 0.5:
                place = int(torch.randint(self.size, ()))
                shown.append(self.pictures[place].to(picture))
                self.pictures[place] = picture
                continue
            shown.append(picture)
        return torch.stack(shown)

    def state(self, device: torch.device) -> Float[Tensor, "n c h w"]:
        """The pictures of all processes, which must ask together.

        Args:
            device: that of the training; what was resumed from a checkpoint may lie elsewhere.
        """
        if not self.pictures:
            return torch.zeros(0, 3, 0, 0)
        return gather(torch.stack([picture.to(device) for picture in self.pictures]))

    def resume(self, state: Float[Tensor, "n c h w"]) -> None:
        """Goes on with this process's share of what `state` gave."""
        # Each process has kept as many, for all have seen as many pictures.
        self.pictures = list(state.tensor_split(world_size())[rank()])[: self.size]
