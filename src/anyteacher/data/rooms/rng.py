"""Random numbers that depend on the seed of a scene and on nothing else.

A counter-based generator: number k of a scene is a hash of (seed, k), so scenes can be drawn in
any batch, on any device and in any order, and no version of torch changes them. The hash is the
finaliser of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
OOPSLA 2014).

Everything drawn here is later combined with `+ - * / sqrt floor min max` alone. Those are exactly
rounded by IEEE 754, so a batch of one and a batch of a hundred give the same bits; `sin` or `exp`
would not (vectorised code and its scalar remainder may differ in the last bit).
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def _signed(value: int) -> int:
    """The int64 with the bits of an unsigned 64-bit number."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift_xor(x: Tensor, bits: int) -> Tensor:
    # torch shifts int64 arithmetically; the mask makes the shift a logical one.
    return x ^ ((x >> bits) & ((1 << (64 - bits)) - 1))


def _hash(x: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """SplitMix64's finaliser, in wrapping int64 arithmetic."""
    x = _shift_xor(x, 30) * _MIX_1
    x = _shift_xor(x, 27) * _MIX_2
    return _shift_xor(x, 31)


def uniform(seeds: Int[Tensor, " b"], count: int) -> Float[Tensor, "b count"]:
    """Uniform numbers in [0, 1), multiples of 2**-24: row i depends on `seeds[i]` alone.

    >>> import torch
    >>> both = uniform(torch.tensor([3, 4]), 5)
    >>> bool((both[1:] == uniform(torch.tensor([4]), 5)).all())
    True
    """
    # Tensors and not numbers: a Python number beyond int64 after multiplication would overflow.
    golden = torch.tensor(_GOLDEN, dtype=torch.int64, device=seeds.device)
    counter = torch.arange(1, count + 1, dtype=torch.int64, device=seeds.device)
    state = _hash(seeds.to(torch.int64) + golden)[:, None] + counter * golden
    bits = (_hash(state) >> 40) & 0xFFFFFF
    return bits.to(torch.float32) * (1.0 / (1 << 24))


class Stream:
    """Hands out the random numbers of a batch of scenes one after the other.

    All are drawn at once, because many small hashes cost more than one large one.

    Args:
        seeds: one seed for each scene.
        budget: how many numbers each scene may use.
    """

    def __init__(self, seeds: Int[Tensor, " b"], budget: int) -> None:
        self._values = uniform(seeds, budget)
        self._used = 0

    def __call__(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Float[Tensor, "b ..."]:
        """Uniform numbers in [low, high), of the given shape for each scene."""
        count = 1
        for size in shape:
            count *= size
        end = self._used + count
        if end > self._values.shape[1]:
            raise RuntimeError(f"The budget of {self._values.shape[1]} random numbers is used up.")
        taken = self._values[:, self._used : end].reshape(-1, *shape)
        self._used = end
        return taken * (high - low) + low

    def chance(self, probability: float, *shape: int) -> Bool[Tensor, "b ..."]:
        """True with the given probability."""
        return self(*shape) < probability

    def choice(self, weights: tuple[float, ...], *shape: int) -> Int[Tensor, "b ..."]:
        """An index drawn with the given weights, which sum to 1."""
        value = self(*shape)
        index = torch.zeros_like(value, dtype=torch.int64)
        bound = 0.0
        for weight in weights[:-1]:
            bound += weight
            index = index + (value >= bound)
        return index


def sine(turns: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Sine of 2 pi `turns`, to 0.0011, from exactly rounded operations only.

    >>> import torch
    >>> [round(float(v), 6) for v in sine(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.25]))]
    [0.0, 1.0, -0.0, -1.0, 1.0]
    """
    x = turns - torch.floor(turns + 0.5)
    y = 16.0 * x * (0.5 - x.abs())
    return y * (0.775 + 0.225 * y.abs())


def angle(x: Float[Tensor, "*n"], y: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Direction of (x, y) in turns, in [0, 1], to 0.0007, from exactly rounded operations only."""
    ax, ay = x.abs(), y.abs()
    ratio = torch.minimum(ax, ay) / torch.maximum(torch.maximum(ax, ay), ax.new_tensor(1e-12))
    # atan(ratio) is nearly ratio * (pi / 4 + 0.273 * (1 - ratio)); divided by 2 pi to give turns.
    eighth = ratio * (0.125 + 0.04345 * (1.0 - ratio))
    quarter = torch.where(ay > ax, 0.25 - eighth, eighth)
    half = torch.where(x < 0, 0.5 - quarter, quarter)
    return torch.where(y < 0, 1.0 - half, half)
