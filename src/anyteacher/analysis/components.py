"""Principal components of feature maps, to be looked at."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.spectral.gram import eigh

SHOWN = 3
"""How many components are kept."""


@dataclass(frozen=True)
class Components:
    """The first three principal directions of a feature.

    Attributes:
        mean: The mean row, (c,).
        directions: One unit vector a column, the strongest first; zeros where there are fewer.
        deviation: Standard deviation of the feature along the first.
        shares: The share of the energy along each.
    """

    mean: Float[Tensor, " c"]
    directions: Float[Tensor, "c 3"]
    deviation: Float[Tensor, ""]
    shares: Float[Tensor, "3"]

    def of(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 h w"]:
        """The components of maps, all in units of the deviation along the first.

        In one unit, so that a weak component looks weak; zeros for constant features.
        """
        centred = maps.to(self.mean.dtype) - self.mean[:, None, None]
        scores = torch.einsum("bchw,ck->bkhw", centred, self.directions)
        there = self.deviation > 0
        return scores * there / torch.where(there, self.deviation, 1.0)


@torch.no_grad()
def principal(
    mean: Float[Tensor, " c"],
    products: Float[Tensor, "c c"],
    rows: int,
    like: Float[Tensor, "3 c"] | None = None,
) -> Components:
    """The first three principal directions from centred second moments.

    The sign of a direction means nothing. Here its largest entry is positive, or, where `like` is
    given, it goes along with what that stands for: two features' pictures can then be compared.

    Args:
        mean: The mean row.
        products: `Z^T Z` of the centred features.
        rows: How many rows there were.
        like: Three other scores times the centred features, `S^T Z`.
    """
    values, vectors = eigh(products)
    values, vectors = values.flip(0)[:SHOWN].clamp(min=0), vectors.flip(1)[:, :SHOWN]
    missing = SHOWN - len(values)
    values = torch.nn.functional.pad(values, (0, missing))
    vectors = torch.nn.functional.pad(vectors, (0, missing))
    if like is None:
        signs = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))[0]
    else:
        signs = (like.mT * vectors).sum(0)
    vectors = vectors * torch.where(signs < 0, -1.0, 1.0)
    whole = products.trace()
    shares = values / whole if float(whole) > 0 else torch.zeros_like(values)
    return Components(mean, vectors, (values[0] / rows).sqrt(), shares)
