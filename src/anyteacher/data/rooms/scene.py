"""What is in a room: its size, its objects, the camera, the lamps.

World frame: metres, y up, the floor at y = 0, the room centred at x = z = 0. Camera frame: x right,
y down, z forward.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anyteacher.data.rooms.raycast import away_from_zero
from anyteacher.data.rooms.rng import Stream, sine
from anyteacher.data.rooms.texture import FACES, sample_textures

CLASSES = ("floor", "wall", "ceiling", "sphere", "box", "cylinder", "cone")
"""Names of the semantic classes, in the order of their numbers in the segmentation."""

KINDS = CLASSES[3:]
"""Names of the kinds of object, in the order of their columns in presence and count."""

SPHERE, BOX, CYLINDER, CONE = range(4)
MAX_OBJECTS = 5
"""Objects in a scene at most."""

_HOW_MANY = (0.10, 0.20, 0.28, 0.25, 0.17)  # shares of scenes that ask for 1, 2, ... objects
_TRIES = 16  # places tried for each object; it is left out when none is free
_LAMP_TRIES = 6
_BUDGET = 640  # random numbers of a scene


@dataclass(frozen=True)
class Scene:
    """A batch of scenes. Slot k of a scene holds an object where `active` says so.

    Attributes:
        room: half width, height and half length.
        eye: where the camera is.
        axes: the camera's right, down and forward in the world.
        tan_half: tangent of half the field of view across the shorter side of the picture.
        active, kind, centre, half, turn: of the objects; `half` holds half sizes along the axes
            (radius, half height, radius for round ones), `turn` cosine and sine of the rotation.
        textures: see `texture`; first the six faces of the room, then the objects.
        day, night: the lamp's place (3), its light (3), the ambient light (3).
    """

    room: Float[Tensor, "b 3"]
    eye: Float[Tensor, "b 3"]
    axes: Float[Tensor, "b 3 3"]
    tan_half: Float[Tensor, " b"]
    active: Bool[Tensor, "b k"]
    kind: Int[Tensor, "b k"]
    centre: Float[Tensor, "b k 3"]
    half: Float[Tensor, "b k 3"]
    turn: Float[Tensor, "b k 2"]
    textures: Float[Tensor, "b s t"]
    day: Float[Tensor, "b 9"]
    night: Float[Tensor, "b 9"]

    def __getitem__(self, part: slice) -> "Scene":
        """Some of the scenes."""
        return Scene(**{f.name: getattr(self, f.name)[part] for f in fields(self)})


def _between(share: Tensor, low: float, high: float) -> Tensor:
    return low + share * (high - low)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    # In a fixed order: `sum` may add in another one for another batch size.
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def _unit(a: Tensor) -> Tensor:
    return a / torch.sqrt(_dot(a, a))[..., None]


def _cross(a: Tensor, b: Tensor) -> Tensor:
    ax, ay, az = a.unbind(-1)
    bx, by, bz = b.unbind(-1)
    return torch.stack((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx), -1)


def _first(valid: Bool[Tensor, "b n"]) -> tuple[Int[Tensor, " b"], Bool[Tensor, " b"]]:
    """Index of the first true entry (0 where there is none), and whether there is one."""
    n = valid.shape[1]
    index = torch.where(valid, torch.arange(n, device=valid.device), n).amin(1)
    return index % n, index < n


def _pick(values: Tensor, index: Int[Tensor, " b"]) -> Tensor:
    return values[torch.arange(len(index), device=index.device), index]


def _sample_camera(draw: Stream, room: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Near the wall, at the height of a person's eyes, looking across the room."""
    b = len(room)
    around = draw(1)
    side = torch.cat((sine(around + 0.25), sine(around)), 1)
    # From the circle onto the square, so that corners are used too.
    side = side / torch.maximum(side[:, :1].abs(), side[:, 1:].abs())
    reach = draw(1, low=0.72, high=0.95)
    plan = side * (room[:, 0::2] - 0.35) * reach
    eye = torch.stack((plan[:, 0], _between(draw(1)[:, 0], 1.0, 1.85), plan[:, 1]), 1)
    aim = draw(2, low=-0.3, high=0.3) * room[:, 0::2]
    height = draw(1, low=0.35, high=1.15)
    target = torch.stack((aim[:, 0], height[:, 0], aim[:, 1]), 1)
    forward = _unit(target - eye)
    up = torch.tensor((0.0, 1.0, 0.0), device=room.device).expand(b, 3)
    right = _unit(_cross(up, forward))
    down = _cross(right, forward)
    roll = draw(1, low=-0.06, high=0.06)  # a tangent: up to 3.4 degrees
    right = _unit(right + roll * down)
    down = _cross(right, forward)
    axes = torch.stack((right, down, forward), 1)
    return eye, axes, draw(1, low=0.52, high=0.85)[:, 0]


def _sample_sizes(draw: Stream, b: int, kind: Tensor) -> Tensor:
    u, v, w = draw(3, MAX_OBJECTS).unbind(1)
    wide, narrow = _between(u, 0.24, 0.58), _between(w, 0.24, 0.58)
    radius = torch.where(
        kind == SPHERE,
        _between(u, 0.26, 0.58),
        torch.where(kind == CYLINDER, _between(u, 0.2, 0.46), _between(u, 0.3, 0.56)),
    )
    tall = torch.where(
        kind == BOX,
        _between(v, 0.2, 0.75),
        torch.where(kind == CYLINDER, _between(v, 0.25, 0.8), _between(v, 0.38, 0.8)),
    )
    x = torch.where(kind == BOX, wide, radius)
    y = torch.where(kind == SPHERE, radius, tall)
    z = torch.where(kind == BOX, narrow, radius)
    return torch.stack((x, y, z), -1)


def _sample_heights(draw: Stream, room: Tensor, kind: Tensor, tall: Tensor) -> Tensor:
    """Most stand on the floor; some float, and some that are no cones hang from the ceiling."""
    how = draw.choice((0.76, 0.14, 0.10), MAX_OBJECTS)
    lift = draw(MAX_OBJECTS)
    ceiling = room[:, 1:2]
    floating = tall + 0.25 + lift * (ceiling - 2.0 * tall - 0.5).clamp(min=0.0)
    hanging = (how == 2) & (kind != CONE)
    return torch.where(hanging, ceiling - tall, torch.where(how == 0, tall, floating))


@dataclass(frozen=True)
class _Camera:
    eye: Tensor
    axes: Tensor
    tan_half: Tensor

    def sees(self, point: Tensor, size: Tensor) -> Tensor:
        """Whether points (B, N, 3) are well in the square picture, and `size` a tenth of it."""
        right, down, forward = (a[:, None] for a in self.axes.unbind(1))
        offset = point - self.eye[:, None]
        depth = away_from_zero(_dot(offset, forward))
        reach = self.tan_half[:, None] * depth
        inside = (depth > 0.9) & (_dot(offset, right).abs() < 0.9 * reach)
        return inside & (_dot(offset, down).abs() < 0.92 * reach) & (size > 0.1 * reach)


def _place(
    draw: Stream, room: Tensor, camera: _Camera, *, half: Tensor, footprint: Tensor, height: Tensor
) -> tuple[Tensor, Tensor]:
    """Puts one object after the other where it is in view, inside the room and touches nothing."""
    eye, ahead = camera.eye[:, None], camera.axes[:, 2, 0::2]
    ahead = ahead / torch.sqrt(ahead[:, :1] * ahead[:, :1] + ahead[:, 1:] * ahead[:, 1:])
    centres: list[Tensor] = []
    found: list[Tensor] = []
    for k in range(MAX_OBJECTS):
        distance = draw(_TRIES, low=1.3, high=7.0)
        across = draw(_TRIES, low=-0.85, high=0.85) * camera.tan_half[:, None] * distance
        rho, y = footprint[:, k : k + 1], height[:, k : k + 1].expand(-1, _TRIES)
        x = eye[..., 0] + ahead[:, :1] * distance + ahead[:, 1:] * across
        z = eye[..., 2] + ahead[:, 1:] * distance - ahead[:, :1] * across
        places = torch.stack((x, y, z), -1)
        valid = (x.abs() < room[:, :1] - rho - 0.03) & (z.abs() < room[:, 2:] - rho - 0.03)
        valid &= camera.sees(places, torch.minimum(rho, half[:, k, 1:2]))
        valid &= _apart(places, camera.eye, rho + 0.75)
        for j, other in enumerate(centres):
            reach = rho + footprint[:, j : j + 1] + 0.02
            valid &= _apart(places, other, reach) | ~found[j][:, None]
        index, some = _first(valid)
        centres.append(_pick(places, index))
        found.append(some)
    return torch.stack(centres, 1), torch.stack(found, 1)


def _apart(places: Tensor, other: Tensor, reach: Tensor) -> Tensor:
    """Whether places (B, N, 3) are farther than `reach` from (B, 3), seen from above."""
    x, z = places[..., 0] - other[:, :1], places[..., 2] - other[:, 2:]
    return x * x + z * z > reach * reach


def _sample_day(
    draw: Stream, room: Tensor, centre: Tensor, footprint: Tensor, active: Tensor
) -> Tensor:
    """A white lamp just below the ceiling, in no object."""
    reach = torch.where(active, footprint + 0.15, 0.0)
    plan = draw(_LAMP_TRIES, 2, low=-0.7, high=0.7) * room[:, None, 0::2]
    gap = plan[:, :, None] - centre[:, None, :, 0::2]
    clear = gap[..., 0] * gap[..., 0] + gap[..., 1] * gap[..., 1] > (reach * reach)[:, None]
    index, found = _first(clear.all(2))
    # A corner of the room is inside no object: the place of last resort.
    place = torch.where(found[:, None], _pick(plan, index), room[:, 0::2] - 0.02)
    lamp = torch.stack((place[:, 0], room[:, 1] - 0.06, place[:, 1]), 1)
    # Larger rooms have stronger lamps.
    strength = (0.55 + 0.16 * (room[:, :1] + room[:, 2:])) * draw(1, low=0.95, high=1.45)
    warmth = draw(1)
    light = torch.cat((1.0 + 0.1 * warmth, torch.ones_like(warmth), 1.02 - 0.2 * warmth), 1)
    fill = torch.cat(
        (draw(1, low=0.94, high=1.02), torch.ones_like(warmth), draw(1, low=0.98, high=1.1)), 1
    )
    return torch.cat((lamp, strength * light, draw(1, low=0.36, high=0.56) * fill), 1)


def _night(room: Tensor, eye: Tensor, axes: Tensor) -> Tensor:
    """A warm lantern to the left of the camera, the same for all scenes.

    Its place, as seen from the camera, is not random: by day nothing shows where a lamp will stand
    at night, and translation would be guesswork. Objects keep a larger distance from the camera,
    and what is moved back into the room comes nearer to the camera: it is inside no object.
    """
    right = axes[:, 0]
    x, z = eye[:, 0] - 0.6 * right[:, 0], eye[:, 2] - 0.6 * right[:, 2]
    wide, long = room[:, 0] - 0.1, room[:, 2] - 0.1
    x, z = (
        torch.minimum(torch.maximum(x, -wide), wide),
        torch.minimum(torch.maximum(z, -long), long),
    )
    lamp = torch.stack((x, eye[:, 1] + 0.35, z), 1)
    light = torch.tensor((1.75, 1.12, 0.52, 0.022, 0.034, 0.075), device=room.device)
    return torch.cat((lamp, light.expand(len(room), -1)), 1)


def sample_scenes(seeds: Int[Tensor, " b"]) -> Scene:
    """Draws a scene for each seed; the same scene whatever the other seeds are.

    >>> import torch
    >>> scene = sample_scenes(torch.arange(3))
    >>> bool((scene.eye[:, 0].abs() < scene.room[:, 0]).all())
    True
    """
    draw, b = Stream(seeds, _BUDGET), len(seeds)
    room = torch.stack(
        (
            draw(1, low=1.7, high=3.4)[:, 0],
            draw(1, low=2.4, high=3.3)[:, 0],
            draw(1, low=1.9, high=3.8)[:, 0],
        ),
        1,
    )
    eye, axes, tan_half = _sample_camera(draw, room)
    kind = draw.choice((0.25, 0.25, 0.25, 0.25), MAX_OBJECTS)
    wanted = torch.arange(MAX_OBJECTS, device=seeds.device) <= draw.choice(_HOW_MANY, 1)
    half = _sample_sizes(draw, b, kind)
    diagonal = torch.sqrt(half[..., 0] * half[..., 0] + half[..., 2] * half[..., 2])
    footprint = torch.where(kind == BOX, diagonal, half[..., 0])
    height = _sample_heights(draw, room, kind, half[..., 1])
    centre, found = _place(
        draw, room, _Camera(eye, axes, tan_half), half=half, footprint=footprint, height=height
    )
    active = found & wanted
    spin = draw(MAX_OBJECTS)
    turn = torch.stack((sine(spin + 0.25), sine(spin)), -1)
    turn = turn / torch.sqrt(turn[..., :1] * turn[..., :1] + turn[..., 1:] * turn[..., 1:])
    day = _sample_day(draw, room, centre, footprint, active)
    textures = sample_textures(draw, kind, half)
    assert textures.shape[1] == FACES + MAX_OBJECTS
    return Scene(
        room,
        eye,
        axes,
        tan_half,
        active,
        kind,
        centre,
        half,
        turn,
        textures,
        day,
        _night(room, eye, axes),
    )
