"""Rays of scenes made by hand, where what each meets is known in closed form."""

import math

import pytest
import torch

from anyteacher.data.rooms.cast import OFFSETS, Objects, camera_rays, surfaces
from anyteacher.data.rooms.scene import BOX, CONE, CYLINDER, SPHERE, sample_scenes
from anyteacher.data.rooms.texture import FACES

SIZE = 9  # odd: one pixel looks straight ahead
AHEAD = SIZE * SIZE // 2
EYE = (0.0, 1.2, -2.5)
DISTANCE = 3.0  # from the camera to the centre of what is straight ahead
CENTRE = (0.0, 1.2, EYE[2] + DISTANCE)


def seen(scene, size=SIZE):
    return surfaces(scene, Objects(scene), camera_rays(scene, size, size))


def vector(parts, ray):
    return [float(part[0, ray]) for part in parts]


def test_rays_go_through_the_pixels_forward_one(scene_of):
    height, width, scene = 4, 6, scene_of(tan_half=0.5)
    x, y, z = (part.reshape(len(OFFSETS), height, width) for part in camera_rays(scene, 4, 6))
    assert torch.equal(z, torch.ones_like(z))
    # The shorter side spans the field of view; y points up in the world and down in the picture.
    centres = (torch.arange(width) + 0.5 - 3) * 0.25
    torch.testing.assert_close(x[0], centres.expand(height, -1))
    torch.testing.assert_close(
        y[0], -((torch.arange(height) + 0.5 - 2) * 0.25)[:, None].expand(4, 6)
    )
    for k, (right, down) in enumerate(OFFSETS):
        torch.testing.assert_close(x[k] - x[0], torch.full_like(x[0], 0.25 * right))
        torch.testing.assert_close(y[k] - y[0], torch.full_like(y[0], -0.25 * down))
        assert max(abs(right), abs(down)) < 0.5  # within its pixel
    assert [sum(part) for part in zip(*OFFSETS, strict=True)] == pytest.approx([0, 0], abs=1e-9)


LEAN = math.hypot(0.4, 1.2)  # of the cone's side: its radius and its height
THINGS = {
    "sphere": (SPHERE, (0.5, 0.5, 0.5), 0.0, DISTANCE - 0.5, (0, 0, -1)),
    "box": (BOX, (0.3, 0.4, 0.5), 0.0, DISTANCE - 0.5, (0, 0, -1)),
    "turned box": (
        BOX,
        (0.6, 0.4, 0.5),
        0.3,
        DISTANCE - 0.5 / math.cos(0.3),
        (math.sin(0.3), 0, -math.cos(0.3)),
    ),
    "cylinder": (CYLINDER, (0.4, 0.7, 0.4), 0.0, DISTANCE - 0.4, (0, 0, -1)),
    # Half way up, a cone is half as wide as its base.
    "cone": (CONE, (0.4, 0.6, 0.4), 0.0, DISTANCE - 0.2, (0, 0.4 / LEAN, -1.2 / LEAN)),
}


@pytest.mark.parametrize("name", THINGS)
def test_what_is_straight_ahead_has_its_depth_and_faces_the_camera(name, scene_of):
    kind, half, turn, depth, normal = THINGS[name]
    surface = seen(scene_of((kind, CENTRE, half, turn)))
    assert float(surface.depth[0, AHEAD]) == pytest.approx(depth, abs=1e-5)
    assert vector(surface.point, AHEAD) == pytest.approx([0, 1.2, EYE[2] + depth], abs=1e-5)
    assert vector(surface.normal, AHEAD) == pytest.approx(normal, abs=1e-5)
    assert int(surface.slot[0, AHEAD]) == FACES
    assert int(surface.number[0, AHEAD]) // FACES == 1


@pytest.mark.parametrize("kind", [CYLINDER, CONE, BOX])
def test_flat_ends_face_up_and_down(kind, scene_of):
    half = (0.6, 0.3, 0.6)
    if kind != CONE:
        below = seen(scene_of((kind, (0.0, 0.3, 0.5), half)), 33)
        top = (below.slot[0] == FACES) & ((below.point[1][0] - 0.6).abs() < 1e-5)
        assert top.sum() > 20
        assert set(below.normal[1][0][top].tolist()) == {1.0}
    above = seen(scene_of((kind, (0.0, 2.2, 0.5), half)), 33)
    bottom = (above.slot[0] == FACES) & ((above.point[1][0] - 1.9).abs() < 1e-5)
    assert bottom.sum() > 20
    assert set(above.normal[1][0][bottom].tolist()) == {-1.0}
    # Flat end and side are different faces.
    side = (above.slot[0] == FACES) & ~bottom
    assert side.sum() > 20
    assert not set(above.number[0][bottom].tolist()) & set(above.number[0][side].tolist())


def test_every_ray_at_a_sphere_ends_where_the_quadratic_equation_says(scene_of):
    radius, scene = 0.6, scene_of((SPHERE, (0.3, 1.0, 0.2), (0.6, 0.6, 0.6)))
    rays = camera_rays(scene, 17, 17)
    surface = surfaces(scene, Objects(scene), rays)
    hits = 0
    for i, ray in enumerate(zip(*(part[0].tolist() for part in rays), strict=True)):
        to = [o - c for o, c in zip(EYE, (0.3, 1.0, 0.2), strict=True)]
        a = sum(d * d for d in ray)
        b = sum(d * o for d, o in zip(ray, to, strict=True))
        root = b * b - a * (sum(o * o for o in to) - radius * radius)
        if abs(root) < 1e-4:
            continue  # so near to the rim that rounding decides
        assert (root > 0) == (int(surface.slot[0, i]) == FACES)
        if root > 0:
            hits += 1
            assert float(surface.depth[0, i]) == pytest.approx((-b - math.sqrt(root)) / a, abs=1e-4)
            point = vector(surface.point, i)
            normal = [(p - c) / radius for p, c in zip(point, (0.3, 1.0, 0.2), strict=True)]
            assert vector(surface.normal, i) == pytest.approx(normal, abs=1e-4)
    assert hits > 50


def test_an_empty_room_shows_its_walls(scene_of):
    surface = seen(scene_of(tan_half=0.9))
    assert float(surface.depth[0, AHEAD]) == pytest.approx(3.0 - EYE[2], abs=1e-5)
    assert vector(surface.normal, AHEAD) == [0, 0, -1]
    assert int(surface.slot[0, AHEAD]) == int(surface.number[0, AHEAD]) == 5
    inward = {0: (1, 0, 0), 1: (-1, 0, 0), 2: (0, 1, 0), 3: (0, -1, 0), 5: (0, 0, -1)}
    ends = {0: (0, -3.0), 1: (0, 3.0), 2: (1, 0.0), 3: (1, 2.5), 5: (2, 3.0)}
    faces = surface.slot[0].tolist()
    assert set(faces) == set(inward)
    for ray, face in enumerate(faces):
        assert vector(surface.normal, ray) == list(inward[face])
        axis, place = ends[face]
        assert float(surface.point[axis][0, ray]) == pytest.approx(place, abs=1e-4)
        # Texture coordinates are metres on the wall.
        x, y, z = vector(surface.point, ray)
        p, q = (z if face < 2 else x), (z if face in (2, 3) else y)
        assert [float(surface.u[0, ray]), float(surface.v[0, ray])] == pytest.approx([p, q])


def test_the_nearer_of_two_is_seen_whatever_their_order(scene_of):
    near, far = (SPHERE, (0.0, 1.2, 0.0), (0.4,) * 3), (BOX, (0.0, 1.2, 2.0), (0.7,) * 3)
    for objects, slot in (((near, far), 0), ((far, near), 1)):
        scene = scene_of(*objects)
        entry, which = Objects(scene).nearest(scene.eye, camera_rays(scene, SIZE, SIZE))
        assert float(entry[0, AHEAD]) == pytest.approx(2.1, abs=1e-5)
        assert int(which[0, AHEAD]) == slot
        assert int(seen(scene).slot[0, AHEAD]) == FACES + slot
        assert entry[0, 0].isinf()  # the corner looks past both


def test_what_is_not_active_is_not_there(scene_of):
    scene = scene_of((SPHERE, CENTRE, (0.5,) * 3))
    scene.active[:] = False
    entry, _ = Objects(scene).nearest(scene.eye, camera_rays(scene, SIZE, SIZE))
    assert entry.isinf().all()
    assert int(seen(scene).slot[0, AHEAD]) == 5


def test_light_stops_at_what_stands_between(scene_of):
    objects = Objects(scene_of((SPHERE, (0.0, 1.0, 0.0), (0.5,) * 3)))
    lamp = torch.tensor([[0.0, 2.4, 0.0]])
    points = {
        (0.0, 0.0, 0.0): 0.0,  # on the floor, below the sphere
        (0.0, 1.5, 0.0): 1.0,  # its own top
        (0.0, 0.5, 0.0): 0.0,  # its own underside
        (2.0, 0.0, 0.0): 1.0,  # beside it
        (0.0, 2.0, 0.0): 1.0,  # between lamp and sphere
        (0.0, 2.5, 0.0): 1.0,  # above the lamp
        (0.9, 0.0, 0.0): 0.0,  # just inside the edge of its shadow
        (0.95, 0.0, 0.0): 1.0,
    }
    to = torch.tensor(list(points)) - lamp
    assert objects.lit(lamp, tuple(to.T[:, None])).tolist() == [list(points.values())]
    for (x, y, z), lit in points.items():
        if (y, z) == (0.0, 0.0):  # how near to the centre the light passes
            assert lit == float(1.4 * abs(x) / math.hypot(x, 2.4) > 0.5)


def test_normals_are_unit_and_point_at_the_camera_in_any_scene():
    scene = sample_scenes(torch.arange(60))
    rays = camera_rays(scene, 16, 20)
    surface = surfaces(scene, Objects(scene), rays)
    normal, ray = torch.stack(surface.normal), torch.stack(rays)
    assert (normal.norm(dim=0) - 1).abs().max() < 1e-5
    assert (normal * ray).sum(0).max() < 1e-5
    assert surface.depth.min() > 0.2
    eye = scene.eye.T[..., None]
    torch.testing.assert_close(torch.stack(surface.point), eye + surface.depth * ray)
    # Faces are numbered apart: a number belongs to one thing.
    thing = torch.where(surface.slot < FACES, 0, surface.slot - FACES + 1)
    assert torch.equal(surface.number // FACES, thing)
    assert (surface.slot >= FACES).float().mean() > 0.05
