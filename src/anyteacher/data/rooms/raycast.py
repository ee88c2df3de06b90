"""Where rays meet the room and the objects, in closed form.

Every solid is convex, so a ray is inside it for one interval of its parameter t: a solid is an
intersection of simpler ones, and its interval is the latest entry and the earliest exit. Vectors
are three tensors (x, y, z), which keeps each of them contiguous. Points are origin + t * direction,
and directions need no unit length. A miss is the empty interval (inf, -inf).

All solids are centred at the origin with the y axis upright; the caller brings the ray there.
"""

import torch
from torch import Tensor

Vec = tuple[Tensor, Tensor, Tensor]
Interval = tuple[Tensor, Tensor]

_TINY = 1e-9


def dot(a: Vec, b: Vec) -> Tensor:
    """Inner product, in a fixed order of additions."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def away_from_zero(x: Tensor, bound: float = _TINY) -> Tensor:
    """The number with its magnitude raised to at least `bound`, so that it can be divided by."""
    return torch.where(x.abs() < bound, bound, x)


def _keep(near: Tensor, far: Tensor, hit: Tensor) -> Interval:
    return torch.where(hit, near, torch.inf), torch.where(hit, far, -torch.inf)


def _slab(origin: Tensor, direction: Tensor, half: Tensor) -> Interval:
    """The interval in which |coordinate| <= half; never empty, since directions are never 0."""
    inverse = away_from_zero(direction).reciprocal()
    centre, reach = -origin * inverse, half * inverse.abs()
    return centre - reach, centre + reach


def sphere(origin: Vec, direction: Vec, radius: Tensor) -> Interval:
    """A ball."""
    inverse = dot(direction, direction).reciprocal()
    middle = -dot(origin, direction) * inverse
    # The squared distance of the line from the centre, without the cancellation of b*b - a*c.
    px, py, pz = (o + middle * d for o, d in zip(origin, direction, strict=True))
    room = radius * radius - (px * px + py * py + pz * pz)
    reach = torch.sqrt(room.clamp(min=0.0) * inverse)
    return _keep(middle - reach, middle + reach, room > 0)


def box(origin: Vec, direction: Vec, half: Vec) -> Interval:
    """A box of the given half sizes along the axes."""
    nx, fx = _slab(origin[0], direction[0], half[0])
    ny, fy = _slab(origin[1], direction[1], half[1])
    nz, fz = _slab(origin[2], direction[2], half[2])
    near = torch.maximum(torch.maximum(nx, ny), nz)
    far = torch.minimum(torch.minimum(fx, fy), fz)
    return _keep(near, far, near < far)


def cylinder(origin: Vec, direction: Vec, radius: Tensor, half: Tensor) -> Interval:
    """An upright cylinder with both ends closed."""
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    inverse = (dx * dx + dz * dz).clamp(min=_TINY).reciprocal()
    middle = -(ox * dx + oz * dz) * inverse
    px, pz = ox + middle * dx, oz + middle * dz
    room = radius * radius - (px * px + pz * pz)
    reach = torch.sqrt(room.clamp(min=0.0) * inverse)
    near_cap, far_cap = _slab(oy, dy, half)
    near = torch.maximum(middle - reach, near_cap)
    far = torch.minimum(middle + reach, far_cap)
    return _keep(near, far, (room > 0) & (near < far))


def cone(origin: Vec, direction: Vec, radius: Tensor, half: Tensor) -> Interval:
    """An upright cone: apex at y = half, closed base of the given radius at y = -half."""
    dx, dy, dz = direction
    # Counted from the point nearest to the centre, the terms of b*b - a*c are small.
    start = -dot(origin, direction) / dot(direction, direction)
    ox, oy, oz = (o + start * d for o, d in zip(origin, direction, strict=True))
    slope = radius / (2.0 * half)
    squared = slope * slope
    drop = half - oy  # how far the origin is below the apex
    # x^2 + z^2 - (slope * (half - y))^2 = a t^2 + 2 b t + c is negative inside the double cone.
    a = away_from_zero(dx * dx + dz * dz - squared * dy * dy, 1e-7)
    b = ox * dx + oz * dz + squared * drop * dy
    c = ox * ox + oz * oz - squared * drop * drop
    room = b * b - a * c
    inverse = a.reciprocal()
    middle, reach = -b * inverse, torch.sqrt(room.clamp(min=0.0)) * inverse.abs()
    low, high = middle - reach, middle + reach
    # A ray steeper than the side (a < 0) is outside between the roots: it is in the lower cone
    # after the second root when it goes down, before the first when it goes up.
    steep, down = a < 0, dy < 0
    near_side = torch.where(steep, torch.where(down, high, -torch.inf), low)
    far_side = torch.where(steep, torch.where(down, torch.inf, low), high)
    near_cap, far_cap = _slab(oy, dy, half)
    near = torch.maximum(near_side, near_cap) + start
    far = torch.minimum(far_side, far_cap) + start
    return _keep(near, far, (room > 0) & (near < far))


def room_exit(origin: Vec, direction: Vec, low: Vec, high: Vec) -> tuple[Tensor, Tensor]:
    """Where a ray from inside a room meets its shell.

    Returns:
        The ray's parameter, and the face: 0 and 1 for low and high x, 2 and 3 for y, 4 and 5 for z.
    """
    best, face = torch.full_like(direction[0], torch.inf), torch.zeros_like(direction[0])
    for axis in range(3):
        d = away_from_zero(direction[axis])
        t = (torch.where(d > 0, high[axis], low[axis]) - origin[axis]) / d
        nearer = t < best
        face = torch.where(nearer, 2.0 * axis + (d > 0).to(d.dtype), face)
        best = torch.where(nearer, t, best)
    return best, face.to(torch.int64)
