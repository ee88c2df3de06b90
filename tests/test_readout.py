import inspect
import math

import pytest
import torch

from anyteacher import readout
from anyteacher.readout import (
    Classes,
    Colors,
    Directions,
    EdgeProbability,
    Metres,
    PixelClasses,
    Presences,
    Readout,
    resize,
)

SIZE = (6, 10)


def test_resize_leaves_the_right_size_alone_and_keeps_planes() -> None:
    x = torch.linspace(0, 1, 8).reshape(1, 1, 1, 8).expand(1, 1, 4, 8)
    assert resize(x, (4, 8)) is x
    wide = resize(x, (12, 24))
    # A ramp stays a ramp away from the border: pixel centres are aligned, not corners.
    steps = wide[0, 0, 5, 2:-2].diff()
    torch.testing.assert_close(steps, torch.full_like(steps, 1 / 7 / 3))
    torch.testing.assert_close(wide[0, 0, 5, 1::3], x[0, 0, 0])


def slow_softmax(values):
    shares = [math.exp(value) for value in values]
    return [share / sum(shares) for share in shares]


# Of one pixel or image, by plain Python, from its channels.
SLOW = [
    (Metres("log", 0.5, 3.0), lambda c: [min(max(math.exp(c[0]), 0.5), 3.0)], 1),
    (Metres("depth", 1, 2.5), lambda c: [min(max(c[0], 1), 2.5)], 1),
    (PixelClasses(), slow_softmax, 4),
    (EdgeProbability(), lambda c: [1 / (1 + math.exp(-c[0]))], 1),
    (Directions(), lambda c: [v / math.sqrt(sum(w * w for w in c)) for v in c], 3),
    (Colors(), lambda c: [min(max(v, 0), 1) for v in c], 3),
    (Colors(logits=True), lambda c: [1 / (1 + math.exp(-v)) for v in c], 3),
    (Classes(), slow_softmax, 4),
    (Presences(), lambda c: [1 / (1 + math.exp(-v)) for v in c], 4),
]


@pytest.mark.parametrize(("make", "slow", "channels"), SLOW, ids=lambda v: type(v).__name__)
def test_each_number_is_what_it_should_be(make, slow, channels):
    of_images = isinstance(make, Classes | Presences)
    output = 2 * torch.randn(2, channels, *(() if of_images else SIZE))
    final = make(output, SIZE)
    rows = output.movedim(1, -1).reshape(-1, channels).tolist()
    expected = torch.tensor([slow(row) for row in rows])
    torch.testing.assert_close(final.movedim(1, -1).reshape(len(rows), -1), expected)


@pytest.mark.parametrize(("make", "slow", "channels"), SLOW, ids=lambda v: type(v).__name__)
def test_half_precision_ends_in_single(make, slow, channels):
    of_images = isinstance(make, Classes | Presences)
    output = torch.randn(2, channels, *(() if of_images else SIZE))
    final = make(output.bfloat16(), SIZE)
    assert final.dtype == torch.float32
    assert torch.equal(final, make(output.bfloat16().float(), SIZE))


def test_a_dense_output_is_resized_before_anything_is_made_of_it():
    small = torch.randn(1, 1, 3, 5)
    assert torch.equal(Metres("log", 1e-3, 1e3)(small, SIZE), resize(small, SIZE).exp())
    four = torch.randn(1, 4, 3, 5)
    assert torch.equal(PixelClasses()(four, SIZE), resize(four, SIZE).softmax(1))


def test_every_readout_is_tested_and_says_what_it_gives():
    kinds = {
        cls
        for cls in vars(readout).values()
        if inspect.isclass(cls) and issubclass(cls, Readout) and not inspect.isabstract(cls)
    }
    assert kinds == {type(make) for make, _, _ in SLOW}
    assert all("(batch, " in cls.meaning for cls in kinds)
