"""Closed forms against a search: march along one ray with plain numbers, then bisect."""

import math
import random

import pytest
import torch

from anyteacher.data.rooms import raycast

HALF = (0.5, 0.8, 0.35)


def inside(kind, p):
    x, y, z = p
    hx, hy, hz = HALF
    if kind == "sphere":
        return math.sqrt(x * x + y * y + z * z) < hx
    if kind == "box":
        return abs(x) < hx and abs(y) < hy and abs(z) < hz
    if kind == "cylinder":
        return math.hypot(x, z) < hx and abs(y) < hy
    return abs(y) < hy and math.hypot(x, z) < hx * (hy - y) / (2 * hy)


def at(o, d, t):
    return [a + t * b for a, b in zip(o, d, strict=True)]


def crossing(kind, o, d, low, high):
    """Where inside() changes between two parameters, by bisection."""
    before = inside(kind, at(o, d, low))
    for _ in range(60):
        middle = (low + high) / 2
        if inside(kind, at(o, d, middle)) == before:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def march(kind, o, d, step=0.004, end=6.0):
    """Entry and exit of one ray, or None."""
    states = [inside(kind, at(o, d, i * step)) for i in range(int(end / step))]
    if True not in states:
        return None
    first = states.index(True)
    last = len(states) - 1 - states[::-1].index(True)
    return (
        crossing(kind, o, d, (first - 1) * step, first * step),
        crossing(kind, o, d, last * step, (last + 1) * step),
    )


def rays(count):
    """Rays of many directions, some along an axis, towards points in and about the solid."""
    rng = random.Random(5)
    for i in range(count):
        aim = [rng.uniform(-1.2, 1.2) * h for h in HALF]
        d = [rng.uniform(-1, 1) for _ in range(3)]
        if i % 8 == 0:
            d[0] = d[2] = 0.0
        if i % 8 == 1:
            d[1] = 0.0
        length = math.sqrt(sum(a * a for a in d))
        d = [1.3 * a / length for a in d]
        yield [a - 2.5 * b for a, b in zip(aim, d, strict=True)], d


def cast(kind, o, d):
    def vec(v):
        return tuple(torch.tensor([a], dtype=torch.float64) for a in v)

    hx, hy, hz = vec(HALF)
    o, d = vec(o), vec(d)
    return {
        "sphere": lambda: raycast.sphere(o, d, hx),
        "box": lambda: raycast.box(o, d, (hx, hy, hz)),
        "cylinder": lambda: raycast.cylinder(o, d, hx, hy),
        "cone": lambda: raycast.cone(o, d, hx, hy),
    }[kind]()


@pytest.mark.parametrize("kind", ["sphere", "box", "cylinder", "cone"])
def test_primitive_agrees_with_a_march_along_each_ray(kind):
    hits = 0
    for o, d in rays(80):
        near, far = (float(t) for t in cast(kind, o, d))
        expected = march(kind, o, d)
        if expected is None:
            # The march steps over what is thinner than a step.
            assert near == math.inf or far - near < 0.01
        else:
            hits += 1
            assert (near, far) == pytest.approx(expected, abs=1e-6)
    assert 20 < hits < 75


@pytest.mark.parametrize("kind", ["sphere", "box", "cylinder", "cone"])
def test_a_miss_is_the_empty_interval(kind):
    near, far = cast(kind, (3.0, 0.0, 0.0), (0.0, 0.3, 1.0))
    assert near.item() == math.inf
    assert far.item() == -math.inf


def test_a_room_is_left_through_the_nearest_wall():
    rng = random.Random(1)
    low, high = (-2.0, 0.0, -3.0), (2.0, 2.5, 3.0)
    faces = set()
    for _ in range(60):
        o = [rng.uniform(a, b) for a, b in zip(low, high, strict=True)]
        d = [rng.uniform(-1, 1) for _ in range(3)]
        expected = min(
            (((high if a > 0 else low)[i] - o[i]) / a, 2 * i + (a > 0)) for i, a in enumerate(d)
        )
        t, face = raycast.room_exit(*(tuple(map(torch.tensor, v)) for v in (o, d, low, high)))
        assert (t.item(), face.item()) == pytest.approx(expected, rel=1e-5)
        faces.add(face.item())
    assert faces == set(range(6))
