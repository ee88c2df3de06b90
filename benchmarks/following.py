"""How near a subspace that is followed from batch to batch stays to the main directions."""

from collections.abc import Iterator

import torch
from torch import Tensor

from anyteacher.regularizers import TrailingEnergy
from anyteacher.report import Table
from anyteacher.spectral import trailing_energy

ROWS, WIDTH, RANKS, STEPS = 600, 256, (16, 64), 40
FALLING = "spectrum i^-1.4, directions that turn"
FLAT, FRESH = "flat energy where channels were dead", "falling energy where channels were dead"


def batches(kind: str, steps: int, seed: int) -> Iterator[Tensor]:
    """Fresh rows for each step, in double precision."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    # Dead channels are zeros, not what rounding makes of them, which alone would be found.
    basis = torch.eye(WIDTH, dtype=torch.float64)
    if kind == FALLING:
        basis = torch.linalg.qr(draw(WIDTH, WIDTH)).Q
    falling = torch.arange(1, WIDTH + 1, dtype=torch.float64) ** -0.7
    dead = WIDTH // 4
    for step in range(steps):
        scales = falling
        if kind == FALLING:
            basis = torch.linalg.qr(basis + 0.002 * draw(WIDTH, WIDTH)).Q
        else:
            scales = torch.ones(WIDTH, dtype=torch.float64) if kind == FLAT else falling.roll(dead)
            alive = torch.arange(WIDTH) < dead
            scales = torch.where(alive, 1.0, 0.0) if step == 0 else torch.where(alive, 0.0, scales)
        yield ((draw(ROWS, WIDTH) * scales) @ basis.mT).requires_grad_()


def distance(kind: str, rank: int, steps: int, seed: int) -> list[tuple[float, float]]:
    """After each batch, by what factor the value is too large, and the cosine of the gradients."""
    regularizer = TrailingEnergy(rank)
    regularizer.build(WIDTH)
    regularizer.double()
    found = []
    for z in batches(kind, steps, seed):
        other = z.detach().clone().requires_grad_()
        value, exact = regularizer(z), trailing_energy(other, rank)
        mine, best = torch.autograd.grad(value, z)[0], torch.autograd.grad(exact, other)[0]
        cosine = torch.cosine_similarity(mine.flatten(), best.flatten(), 0)
        found.append((float(value.detach() / exact.detach()), float(cosine)))
    return found


def nearness(steps: int, seed: int) -> Table:
    """Table of what following a subspace misses, at first and once it is settled."""
    rows: list[list[str | float]] = []
    for kind in (FALLING, FRESH, FLAT):
        for rank in RANKS:
            # The first batch is decomposed.
            (_, second, *others) = distance(kind, rank, steps, seed)
            settled = others[4:]
            excess, cosine = max(e for e, _ in settled), min(c for _, c in settled)
            rows.append([kind, rank, second[0] - 1, second[1], excess - 1, cosine])
    return Table(
        columns=["features", "r", "excess, batch 2", "cosine", "excess, 7 on", "cosine, 7 on"],
        rows=rows,
        caption=f"A followed subspace over {steps} batches of {ROWS} rows and {WIDTH} channels",
        note="excess: of the trailing energy, as a share of the exact one. cosine: of the gradient "
        "with the exact one. From the seventh batch on, the worst of all.",
        decimals=4,
    )
