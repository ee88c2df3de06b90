"""What the rays of a picture meet: rays, objects and the surfaces at which the rays end."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anyteacher.data.rooms.raycast import Vec, box, cone, cylinder, room_exit, sphere
from anyteacher.data.rooms.rng import angle
from anyteacher.data.rooms.scene import BOX, CONE, CYLINDER, KINDS, MAX_OBJECTS, SPHERE, Scene
from anyteacher.data.rooms.texture import FACES, MAP, OFFSET

OFFSETS = ((0.0, 0.0), (0.34, 0.125), (-0.28, 0.235), (-0.06, -0.36))
"""Where in its pixel each ray goes through: the centre, and a triangle about it, turned so that an
edge near an axis crosses the rays one by one. They sum to 0: the image is not shifted."""


@dataclass(frozen=True)
class Surface:
    """What each ray meets, (B, rays) each.

    Attributes:
        point, normal: in the world.
        depth: along the optical axis, in metres.
        slot: row of the table of textures: a face of the room, or 6 + an object's slot.
        number: another for each face of each thing.
        texture: the columns of the table of textures.
        u, v: texture coordinates.
    """

    point: Vec
    normal: Vec
    depth: Tensor
    slot: Tensor
    number: Tensor
    texture: tuple[Tensor, ...]
    u: Tensor
    v: Tensor


def columns(table: Tensor) -> tuple[Tensor, ...]:
    """The last dimension taken apart."""
    return table.unbind(-1)


def camera_rays(scene: Scene, height: int, width: int) -> Vec:
    """Directions of all rays in the world: (B, 4 * H * W) each, pixel centres first.

    Forward they have length 1, so a ray's parameter is the depth along the optical axis.
    """
    device, short = scene.eye.device, min(height, width)
    shifts = torch.tensor(OFFSETS, device=device)
    x = torch.arange(width, device=device) + 0.5 - 0.5 * width
    y = torch.arange(height, device=device) + 0.5 - 0.5 * height
    x = (x[None, None, :] + shifts[:, 0, None, None]).expand(-1, height, -1).reshape(1, -1)
    y = (y[None, :, None] + shifts[:, 1, None, None]).expand(-1, -1, width).reshape(1, -1)
    scale = scene.tan_half[:, None] / (0.5 * short)
    cx, cy = x * scale, y * scale
    right, down, forward = (columns(a[:, None]) for a in scene.axes.unbind(1))
    world = tuple(cx * r + cy * d + f for r, d, f in zip(right, down, forward, strict=True))
    return world[0], world[1], world[2]


class Objects:
    """The objects of a batch of scenes, listed kind by kind; a pair is one object in its scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.pairs = [
            torch.nonzero(scene.active & (scene.kind == kind), as_tuple=True)
            for kind in range(len(KINDS))
        ]

    def intervals(self, kind: int, origin: Tensor, direction: Vec) -> tuple[Tensor, Tensor]:
        """Where rays from one origin a scene are inside the objects of a kind: (pairs, rays)."""
        row, slot = self.pairs[kind]
        start = columns((origin[row] - self.scene.centre[row, slot])[:, None])
        ray: Vec = (direction[0][row], direction[1][row], direction[2][row])
        x, y, z = columns(self.scene.half[row, slot][:, None])
        if kind == SPHERE:
            return sphere((start[0], start[1], start[2]), ray, x)
        if kind == CYLINDER:
            return cylinder((start[0], start[1], start[2]), ray, x, y)
        if kind == CONE:
            return cone((start[0], start[1], start[2]), ray, x, y)
        turn = columns(self.scene.turn[row, slot][:, None])
        return box(_turned(start, turn), _turned(ray, turn), (x, y, z))

    def nearest(self, origin: Tensor, direction: Vec) -> tuple[Tensor, Tensor]:
        """The nearest entry along each ray (inf for none), and the slot of its object."""
        near = direction[0].new_full((len(origin), MAX_OBJECTS, direction[0].shape[1]), torch.inf)
        for kind, (row, slot) in enumerate(self.pairs):
            near[row, slot] = self.intervals(kind, origin, direction)[0]
        best, which = near[:, 0], torch.zeros_like(near[:, 0], dtype=torch.int64)
        for k in range(1, MAX_OBJECTS):
            which = torch.where(near[:, k] < best, k, which)
            best = torch.minimum(best, near[:, k])
        return best, which

    def lit(self, lamp: Tensor, to_point: Vec) -> Tensor:
        """1 where nothing stands between the lamp and the point at lamp + to_point, else 0.

        Rays start at the lamp, which is inside no object, so an entry before the point is a shadow.
        The point's own object counts only well before the point: no speckles.
        """
        shape = (len(lamp), MAX_OBJECTS, to_point[0].shape[1])
        dark = torch.zeros(shape, dtype=torch.bool, device=lamp.device)
        for kind, (row, slot) in enumerate(self.pairs):
            near, _ = self.intervals(kind, lamp, to_point)
            dark[row, slot] = (near > 0) & (near < 0.998)
        return (~dark.any(1)).to(lamp.dtype)


def _turned(v: Sequence[Tensor], turn: Sequence[Tensor]) -> Vec:
    """The vector in the frame of an object that is turned about the vertical."""
    cos, sin = turn
    return cos * v[0] + sin * v[2], v[1], cos * v[2] - sin * v[0]


def _round_surface(
    kind: int, local: Vec, radius: Tensor, half: Tensor
) -> tuple[Vec, Tensor, Tensor, Tensor]:
    """Normal, texture coordinates (p, q) and face of points on a sphere, cylinder or cone."""
    x, y, z = local
    p, zero = angle(x, z), torch.zeros_like(x)
    if kind == SPHERE:
        return (x / radius, y / radius, z / radius), p, y / radius, zero
    rho = torch.sqrt(x * x + z * z).clamp(min=1e-6)
    if kind == CYLINDER:
        cap = y.abs() - half > rho - radius
        normal = (
            torch.where(cap, 0.0, x / rho),
            torch.where(cap, torch.where(y > 0, 1.0, -1.0), 0.0),
            torch.where(cap, 0.0, z / rho),
        )
        face = torch.where(cap, torch.where(y > 0, 1.0, 2.0), 0.0)
        return normal, p, torch.where(cap, half + radius - rho, y), face
    # Distance to the base against distance to the side.
    slope = radius / (2.0 * half)
    length = torch.sqrt(1.0 + slope * slope)
    base = -half - y > (rho - slope * (half - y)) / length
    normal = (
        torch.where(base, 0.0, x / (rho * length)),
        torch.where(base, -1.0, slope / length),
        torch.where(base, 0.0, z / (rho * length)),
    )
    return normal, p, torch.where(base, rho - radius - half, y), base.to(x.dtype)


def _box_surface(local: Vec, half: Vec) -> tuple[Vec, Tensor, Tensor, Tensor]:
    """Normal, texture coordinates (p, q) and face of points on a box, in its own frame."""
    x, y, z = local
    beyond = tuple(a.abs() - h for a, h in zip(local, half, strict=True))
    on_x = (beyond[0] >= beyond[1]) & (beyond[0] >= beyond[2])
    on_y = ~on_x & (beyond[1] >= beyond[2])
    on_z = ~on_x & ~on_y
    signs = [torch.where(a > 0, 1.0, -1.0) for a in local]
    normal = (
        torch.where(on_x, signs[0], 0.0),
        torch.where(on_y, signs[1], 0.0),
        torch.where(on_z, signs[2], 0.0),
    )
    face = torch.where(on_x, 0.5 + 0.5 * signs[0], 0.0)
    face = torch.where(on_y, 2.5 + 0.5 * signs[1], face)
    face = torch.where(on_z, 4.5 + 0.5 * signs[2], face)
    return normal, torch.where(on_x, z, x), torch.where(on_y, z, y), face


def surfaces(scene: Scene, objects: Objects, world: Vec) -> Surface:
    """What rays from the camera meet."""
    eye = scene.eye
    origin = columns(eye[:, None])
    zero, half_room = torch.zeros_like(scene.room[:, :1]), columns(scene.room[:, None])
    low, high = (-half_room[0], zero, -half_room[2]), (half_room[0], half_room[1], half_room[2])
    depth, face = room_exit((origin[0], origin[1], origin[2]), world, low, high)
    near, which = objects.nearest(eye, world)
    hit = near < depth
    depth = torch.where(hit, near, depth)
    x, y, z = (o + depth * d for o, d in zip(origin, world, strict=True))
    # The room first, as though there were no objects; then the objects' own rays are overwritten.
    walls_x, level = face < 2, (face == 2) | (face == 3)
    inward = 1.0 - 2.0 * (face % 2).to(x.dtype)
    normal = [
        torch.where(walls_x, inward, 0.0),
        torch.where(level, inward, 0.0),
        torch.where(face > 3, inward, 0.0),
    ]
    p, q = torch.where(walls_x, z, x), torch.where(level, z, y)
    number = face.clone()
    slot = torch.where(hit, FACES + which, face)
    for kind in range(len(KINDS)):
        row, ray = torch.nonzero(hit & (_at(scene.kind, which) == kind), as_tuple=True)
        k = which[row, ray]
        centre, half = columns(scene.centre[row, k]), columns(scene.half[row, k])
        local: Vec = (x[row, ray] - centre[0], y[row, ray] - centre[1], z[row, ray] - centre[2])
        if kind == BOX:
            cos, sin = columns(scene.turn[row, k])
            n, op, oq, side = _box_surface(_turned(local, (cos, sin)), (half[0], half[1], half[2]))
            n = _turned(n, (cos, -sin))
        else:
            n, op, oq, side = _round_surface(kind, local, half[0], half[1])
        for target, value in zip((*normal, p, q), (*n, op, oq), strict=True):
            target[row, ray] = value
        number[row, ray] = FACES * (1 + k) + side.to(torch.int64)
    texture = tuple(_at(scene.textures[..., c], slot) for c in range(scene.textures.shape[-1]))
    u = texture[MAP] * p + texture[MAP + 1] * q + texture[OFFSET]
    v = texture[MAP + 2] * p + texture[MAP + 3] * q + texture[OFFSET + 1]
    return Surface((x, y, z), (normal[0], normal[1], normal[2]), depth, slot, number, texture, u, v)


def _at(values: Tensor, index: Tensor) -> Tensor:
    """values[b, index[b, n]]."""
    return torch.gather(values, 1, index)
