"""Distances between sets of pictures, by features of them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd
from torchmetrics.utilities import dim_zero_cat

from anyteacher.errors import DataError


class FeatureMetrics(Metric):
    """How far made pictures are from real ones as a set, by what a network sees in them.

    `fid` is the Fréchet distance of two normal distributions with the means and covariances of the
    features (Heusel et al., NeurIPS 2017). `kid` is the squared maximum mean discrepancy with the
    kernel (x . y / d + 1)^3, without bias (Bińkowski et al., ICLR 2018), of all pictures at once in
    place of a mean over random subsets. Neither compares with numbers of another network, so its
    name belongs to theirs: `fid/NAME`, `kid/NAME`.

    Args:
        name: of what gives the features.
    """

    full_state_update = False
    made: list[Tensor]
    real: list[Tensor]

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.add_state("made", [], dist_reduce_fx="cat")
        self.add_state("real", [], dist_reduce_fx="cat")

    def update(self, made: Float[Tensor, "b d"], real: Float[Tensor, "b d"]) -> None:
        """Adds the features of a batch of pictures, and of those they should equal."""
        self.made.append(made)
        self.real.append(real)

    def compute(self) -> dict[str, Tensor]:
        """`fid` and `kid`.

        Raises:
            DataError: when there were fewer than two pictures.
        """
        seen = dim_zero_cat(self.made) if len(self.made) else torch.zeros(0, 1)
        if len(seen) < 2:
            raise DataError(
                f"A distance of sets needs two pictures or more to measure, got {len(seen)}."
            )
        made, real = seen.double(), dim_zero_cat(self.real).double()
        # All processes have all features by now: it must not gather them once more.
        fid = FrechetInceptionDistance(_Given(made.shape[1]), sync_on_compute=False)
        fid.to(made.device)
        fid.update(real, real=True)
        fid.update(made, real=False)
        return {f"fid/{self.name}": fid.compute(), f"kid/{self.name}": poly_mmd(real, made)}


class _Given(nn.Module):
    """Gives features as they are to a metric that would look for them in pictures."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.num_features = channels

    def forward(self, features: Tensor) -> Tensor:
        return features
