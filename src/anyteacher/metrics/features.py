"""Distances between sets of pictures, by features of them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.utilities import dim_zero_cat

from anyteacher.errors import DataError


def squared_mmd(a: Float[Tensor, "a d"], b: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """The squared maximum mean discrepancy of two sets, which may be of different size.

    Without bias, so that it may fall below zero: with k(x, y) = (x . y / d + 1)^3, the mean of k
    over the pairs within each set, less twice that over the pairs across. Source: Bińkowski,
    Sutherland, Arbel and Gretton, "Demystifying MMD GANs", ICLR 2018.

    >>> float(squared_mmd(torch.zeros(2, 1), torch.ones(3, 1)))
    7.0
    """

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: Tensor) -> Tensor:
        pairs = kernel(x, x)
        return (pairs.sum() - pairs.diagonal().sum()) / (len(x) * (len(x) - 1))

    return within(a) + within(b) - 2 * kernel(a, b).mean()


class FeatureMetrics(Metric):
    """How far made pictures are from real ones as a set, by what a network sees in them.

    `fid` is the Fréchet distance of two normal distributions with the means and covariances of the
    features (Heusel et al., NeurIPS 2017). `kid` is `squared_mmd` of all pictures at once, in place
    of a mean over random subsets. Neither compares with numbers of another network, so its
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

    def update(self, made: Float[Tensor, "a d"], real: Float[Tensor, "b d"]) -> None:
        """Adds the features of made pictures, and of real ones: not of as many, maybe."""
        self.made.append(made)
        self.real.append(real)

    def compute(self) -> dict[str, Tensor]:
        """`fid` and `kid`.

        Raises:
            DataError: when there were fewer than two made pictures, or than two real ones.
        """
        made, real = (
            dim_zero_cat(features).double() if len(features) else torch.zeros(0, 1)
            for features in (self.made, self.real)
        )
        if min(len(made), len(real)) < 2:
            raise DataError(
                f"A distance of sets needs two pictures or more of each to measure, got "
                f"{len(made)} made and {len(real)} real."
            )
        # All processes have all features by now: it must not gather them once more.
        fid = FrechetInceptionDistance(_Given(made.shape[1]), sync_on_compute=False)
        fid.to(made.device)
        fid.update(real, real=True)
        fid.update(made, real=False)
        return {f"fid/{self.name}": fid.compute(), f"kid/{self.name}": squared_mmd(made, real)}


class _Given(nn.Module):
    """Gives features as they are to a metric that would look for them in pictures."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.num_features = channels

    def forward(self, features: Tensor) -> Tensor:
        return features
