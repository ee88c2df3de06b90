"""Light on the surfaces: lamp, shadows, ambient light, highlights, and the tone curve."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from anyteacher.data.rooms.cast import OFFSETS, Objects, Surface, columns
from anyteacher.data.rooms.raycast import Vec, dot
from anyteacher.data.rooms.scene import MAX_OBJECTS, Scene
from anyteacher.data.rooms.texture import FIRST, GLOSS, PATTERN, SECOND, mixture

_CREASE = 0.35  # metres over which corners between walls darken


def _minus(a: Sequence[Tensor], b: Sequence[Tensor]) -> Vec:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def _scaled(a: Vec, by: Tensor) -> Vec:
    return a[0] * by, a[1] * by, a[2] * by


def _openness(scene: Scene, points: Vec, normals: Vec) -> Tensor:
    """How much ambient light arrives, in (0, 1]: less in creases and beside objects."""
    open_ = torch.ones_like(points[0])
    half_x, height, half_z = columns(scene.room[:, None])
    walls = ((-half_x, half_x), (torch.zeros_like(height), height), (-half_z, half_z))
    for (low, high), point, normal in zip(walls, points, normals, strict=True):
        # A wall occludes what does not lie in it; both sides at once, for they are far apart.
        near = torch.minimum(point - low, high - point).clamp(min=0.0) + _CREASE
        open_ = open_ * (1.0 - 0.32 * (1.0 - normal.abs()) * (_CREASE * _CREASE) / (near * near))
    # Each object is taken for a ball of about its size: the share of the sky that a ball covers.
    size = (scene.half[..., 0] + scene.half[..., 1] + scene.half[..., 2]) / 3.0
    squared = torch.where(scene.active, size * size, 0.0)
    for k in range(MAX_OBJECTS):
        to = _minus(columns(scene.centre[:, k, None]), points)
        d2 = dot(to, to)
        covered = dot(to, normals).clamp(min=0.0) * squared[:, k, None]
        open_ = open_ * (1.0 - 0.8 * (covered / (d2 * torch.sqrt(d2))).clamp(max=1.0))
    return open_


def _display(light: Tensor) -> Tensor:
    """From linear light to [0, 1]: a filmic curve (Narkowicz, ACES fit, 2015), gamma 2."""
    curve = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
    return torch.sqrt(curve.clamp(0.0, 1.0))


class Shading:
    """What the pictures by day and by night share: colours and ambient light of the surfaces."""

    def __init__(self, scene: Scene, objects: Objects, surface: Surface, pixels: int) -> None:
        self._objects, self._surface = objects, surface
        texture = surface.texture
        share = mixture(texture[PATTERN], surface.u, surface.v)
        self._albedo = [
            texture[SECOND + c] + share * (texture[FIRST + c] - texture[SECOND + c])
            for c in range(3)
        ]
        # It varies slowly: once for a pixel is enough, from the ray through its centre.
        px, py, pz = (a[:, :pixels] for a in surface.point)
        nx, ny, nz = (a[:, :pixels] for a in surface.normal)
        open_ = _openness(scene, (px, py, pz), (nx, ny, nz))
        self._open = open_.repeat(1, len(OFFSETS)) * (0.8 + 0.2 * surface.normal[1])
        to_eye = _minus(columns(scene.eye[:, None]), surface.point)
        self._to_eye = _scaled(to_eye, torch.sqrt(dot(to_eye, to_eye)).reciprocal())

    def picture(self, lighting: Float[Tensor, "b 9"]) -> Float[Tensor, "b 3 n"]:
        """Colours of all rays under a lamp: its place, its light, the ambient light."""
        surface, light, ambient = self._surface, lighting[:, 3:6], lighting[:, 6:]
        from_lamp = _minus(surface.point, columns(lighting[:, None, :3]))
        d2 = dot(from_lamp, from_lamp)
        to_lamp = _scaled(from_lamp, -torch.sqrt(d2).reciprocal())
        facing = dot(to_lamp, surface.normal).clamp(min=0.0)
        # Softer than 1 / d^2: real rooms send much of the light around.
        arriving = self._objects.lit(lighting[:, :3].contiguous(), from_lamp) / (0.35 + 0.28 * d2)
        middle = (
            to_lamp[0] + self._to_eye[0],
            to_lamp[1] + self._to_eye[1],
            to_lamp[2] + self._to_eye[2],
        )
        m2 = dot(middle, middle).clamp(min=1e-6)
        shine = dot(middle, surface.normal).clamp(min=0.0)
        shine = shine * shine / m2  # squared cosine; to the power 32 in four more squarings
        for _ in range(4):
            shine = shine * shine
        shine = shine * surface.texture[GLOSS] * arriving
        diffuse = facing * arriving
        channels = []
        for c, albedo in enumerate(self._albedo):
            lamp, fill = light[:, c, None], ambient[:, c, None]
            channels.append(_display(albedo * (fill * self._open + lamp * diffuse) + lamp * shine))
        return torch.stack(channels, 1)
