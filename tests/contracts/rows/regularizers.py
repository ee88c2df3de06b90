"""The table of regularisers."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from anyteacher.regularizers import EffectiveRank, LogDet, NuclearNorm, Regularizer, TrailingEnergy
from anyteacher.spectral import (
    effective_rank,
    log_det,
    nuclear_norm,
    tracked_trailing_energy,
    trailing_energy,
)


@dataclass
class Row:
    """A way to make a regulariser, and what it gives for a matrix of so many columns."""

    make: Callable[..., Regularizer]
    function: Callable[..., torch.Tensor]
    width: int = 6
    fewest: int = 1  # rows
    of_zeros: float = 0.0


TABLE: dict[str, Row] = {
    "TrailingEnergy": Row(
        lambda **k: TrailingEnergy(2, **k), lambda z, **k: trailing_energy(z, 2, **k), fewest=3
    ),
    "TrailingEnergy, share of the width": Row(
        lambda **k: TrailingEnergy(0.5, fraction=True, **k),
        lambda z, **k: trailing_energy(z, 3, fraction=True, **k),
        fewest=4,
    ),
    "TrailingEnergy, share of the energy": Row(
        lambda **k: TrailingEnergy(energy=0.8, **k),
        lambda z, **k: trailing_energy(z, energy=0.8, **k),
        fewest=2,
    ),
    "TrailingEnergy, scheduled": Row(
        lambda **k: TrailingEnergy(2, start=6, steps=4, **k),
        lambda z, **k: trailing_energy(z, 6, **k),
        fewest=3,
    ),
    "TrailingEnergy, followed": Row(
        lambda **k: TrailingEnergy(8, **k),
        lambda z, **k: tracked_trailing_energy(z, 8, **k)[0],
        width=256,
        fewest=9,
    ),
    "NuclearNorm": Row(NuclearNorm, nuclear_norm),
    "LogDet": Row(LogDet, log_det),
    "EffectiveRank": Row(
        EffectiveRank, lambda z, **k: 1 - effective_rank(z, **k) / 6, fewest=2, of_zeros=1.0
    ),
}


def built(name, **settings):
    regularizer = TABLE[name].make(**settings)
    regularizer.build(TABLE[name].width)
    return regularizer


def feature(name, dtype=torch.float64, grid=(8, 9), images=4):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(images, TABLE[name].width, *grid, dtype=torch.float64, generator=generator)
    return (x + 0.2).to(dtype).requires_grad_()
