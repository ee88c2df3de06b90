"""Light in scenes made by hand: how bright, where it is dark, and the bounds of a picture."""

import math

import pytest
import torch

from anyteacher.data.rooms import shade
from anyteacher.data.rooms.cast import Objects, camera_rays, surfaces
from anyteacher.data.rooms.scene import BOX, SPHERE, sample_scenes
from anyteacher.data.rooms.shade import Shading
from anyteacher.data.rooms.texture import FIRST, GLOSS, SECOND

SIZE = 33
PIXELS = SIZE * SIZE


def shaded(scene, size=SIZE):
    objects = Objects(scene)
    surface = surfaces(scene, objects, camera_rays(scene, size, size))
    return Shading(scene, objects, surface, size * size), surface


def display(light):
    """The tone curve in plain numbers, from linear light to [0, 1]."""
    curve = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
    return math.sqrt(min(1.0, max(0.0, curve)))


def test_the_tone_curve_rises_from_black_to_white():
    light = torch.linspace(0, 20, 2001)
    shown = shade._display(light)
    assert shown[0] == 0
    assert shown.max() == 1
    assert (shown.diff() >= 0).all()
    expected = [display(x) for x in (0.0, 0.18, 0.5, 1.0)]
    found = shade._display(torch.tensor([0.0, 0.18, 0.5, 1.0])).tolist()
    assert found == pytest.approx(expected, abs=1e-6)


def test_every_picture_is_within_bounds_and_none_is_all_one_colour():
    scene = sample_scenes(torch.arange(24))
    shading, _ = shaded(scene, 16)
    for light in (scene.day, scene.night):
        picture = shading.picture(light)
        assert picture.shape == (24, 3, 4 * 16 * 16)
        assert picture.isfinite().all()
        assert 0 <= picture.min() < picture.max() <= 1
        assert picture.std(dim=2).min() > 0.005


def test_a_point_of_the_floor_by_hand(scene_of):
    scene = scene_of()
    shading, surface = shaded(scene)
    picture = shading.picture(scene.day)[0]
    floor = torch.nonzero(surface.slot[0, :PIXELS] == 2).flatten().tolist()
    assert len(floor) > 100
    for ray in floor[::7]:
        x, y, z = (float(a[0, ray]) for a in surface.point)
        d2 = x * x + (2.4 - y) ** 2 + z * z
        lamp = (2.4 - y) / math.sqrt(d2) / (0.35 + 0.28 * d2)
        # The four walls darken the floor along them; the floor and the ceiling do not.
        open_ = 1.0
        for gap in (3 - abs(x), 3 - abs(z)):
            open_ *= 1 - 0.32 * 0.35**2 / (gap + 0.35) ** 2
        assert picture[:, ray].tolist() == pytest.approx(
            [display(0.5 * (0.4 * open_ + lamp))] * 3, abs=1e-4
        )


def test_without_light_all_is_black_and_more_light_is_never_darker():
    scene = sample_scenes(torch.arange(6))
    shading, _ = shaded(scene, 16)
    dark = scene.day.clone()
    dark[:, 3:] = 0
    assert (shading.picture(dark) == 0).all()
    brighter = scene.day.clone()
    brighter[:, 3:] *= 1.3
    assert (shading.picture(brighter) >= shading.picture(scene.day)).all()


def test_each_colour_has_its_own_light_and_surface(scene_of):
    scene = scene_of()
    scene.textures[..., FIRST : FIRST + 3] = torch.tensor([0.8, 0.4, 0.0])
    scene.textures[..., SECOND : SECOND + 3] = 0.0  # the second colour of plain is not seen
    shading, _ = shaded(scene)
    red, green, blue = shading.picture(scene.day)[0]
    assert (red > green).all()
    assert (blue == 0).all()
    scene.day[:, [3, 6]] *= 0.5  # half of the red light on twice the red surface
    red, green, _ = shading.picture(scene.day)[0]
    torch.testing.assert_close(red, green)


def test_a_shadow_lies_behind_what_stands_in_the_light(scene_of):
    empty, full = scene_of(), scene_of((SPHERE, (0.0, 1.2, 0.5), (0.4,) * 3))
    lamp = torch.tensor([[0.0, 2.4, -1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]])  # and no ambient light
    (before, first), (after, second) = shaded(empty), shaded(full)
    bare, shadowed = before.picture(lamp)[0, 0], after.picture(lamp)[0, 0]
    same = first.slot[0] == second.slot[0]
    x, y, z = (a[0] for a in first.point)
    # The distance of the sphere's centre from the line from the lamp to the point.
    to = torch.stack((x, y - 2.4, z + 1.0))
    centre = torch.tensor([0.0, 1.2 - 2.4, 0.5 + 1.0])[:, None]
    along = (to * centre).sum(0) / to.square().sum(0)
    distance = (centre - along * to).norm(dim=0)
    behind = same & (distance < 0.39) & (along > 0) & (along < 1)
    clear = same & ((distance > 0.41) | (along < 0))
    assert behind.sum() > 50
    assert clear.sum() > 500
    assert (shadowed[behind] == 0).all()
    assert (bare[behind] > 0.05).all()
    torch.testing.assert_close(shadowed[clear], bare[clear])


def test_ambient_light_is_less_in_corners_and_beside_objects(scene_of):
    def openness(scene, point, normal):
        parts = ([torch.tensor([[value]]) for value in vector] for vector in (point, normal))
        return float(shade._openness(scene, *map(tuple, parts)))

    empty, full = scene_of(), scene_of((BOX, (0.0, 0.5, 0.0), (0.5,) * 3))
    up = (0.0, 1.0, 0.0)
    middle, edge = openness(empty, (0.0, 0.0, 0.0), up), openness(empty, (2.99, 0.0, 0.0), up)
    corner = openness(empty, (2.99, 0.0, 2.99), up)
    assert 1 >= middle > edge > corner > 0
    assert middle > 0.98
    assert corner / middle == pytest.approx((edge / middle) ** 2, abs=1e-3)
    # Beside the box less light arrives, and it fades with the distance; behind its back, all.
    faces = (-1.0, 0.0, 0.0)
    near, far = (openness(full, (x, 0.5, 0.0), faces) for x in (0.6, 1.5))
    bare = [openness(empty, (x, 0.5, 0.0), faces) for x in (0.6, 1.5)]
    assert near / bare[0] == pytest.approx(1 - 0.8 * (0.5 / 0.6) ** 2, abs=1e-5)
    assert far / bare[1] == pytest.approx(1 - 0.8 * (0.5 / 1.5) ** 2, abs=1e-5)
    away = (1.0, 0.0, 0.0)
    assert openness(full, (0.6, 0.5, 0.0), away) == openness(empty, (0.6, 0.5, 0.0), away)


def test_openness_stays_above_zero_and_at_most_one():
    scene = sample_scenes(torch.arange(40))
    surface = surfaces(scene, Objects(scene), camera_rays(scene, 12, 12))
    open_ = shade._openness(scene, surface.point, surface.normal)
    assert 0 < open_.min() < open_.max() <= 1


def test_gloss_shines_where_the_lamp_is_mirrored_and_nowhere_darkens(scene_of):
    matt = scene_of((SPHERE, (0.0, 1.2, 0.5), (0.8,) * 3))
    lamp = torch.tensor([[0.0, 1.2, -2.4, 1.0, 1.0, 1.0, 0.2, 0.2, 0.2]])  # beside the camera
    plain = shaded(matt)[0].picture(lamp)[0, 0, :PIXELS]
    matt.textures[..., GLOSS] = 0.6
    glossy = shaded(matt)[0].picture(lamp)[0, 0, :PIXELS]
    gain = (glossy - plain).reshape(SIZE, SIZE)
    assert gain.min() > -1e-6
    assert int(gain.argmax()) == PIXELS // 2  # the sphere's pole looks at lamp and camera
    assert gain.max() > 0.05
