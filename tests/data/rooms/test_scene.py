"""Sampled scenes: what stands where, and that a seed is a scene."""

import math
from dataclasses import fields

import pytest
import torch

from anyteacher.data.rooms.scene import (
    BOX,
    CLASSES,
    CONE,
    CYLINDER,
    KINDS,
    MAX_OBJECTS,
    SPHERE,
    sample_scenes,
)
from anyteacher.data.rooms.texture import COLUMNS, FACES


@pytest.fixture(scope="module")
def scene():
    return sample_scenes(torch.arange(500))


def equal(first, second):
    return all(torch.equal(getattr(first, f.name), getattr(second, f.name)) for f in fields(first))


def test_a_seed_is_a_scene_in_any_batch_and_order(scene):
    assert equal(sample_scenes(torch.arange(500)), scene)
    for k in (0, 7, 499):
        assert equal(sample_scenes(torch.tensor([k])), scene[k : k + 1])
    backwards = sample_scenes(torch.arange(20).flip(0))
    assert torch.equal(backwards.centre.flip(0), scene.centre[:20])
    assert len(scene.eye.unique(dim=0)) == len(scene.textures.unique(dim=0)) == 500


def test_a_part_of_the_scenes_is_a_batch_of_them(scene):
    part = scene[10:13]
    assert {len(getattr(part, f.name)) for f in fields(part)} == {3}
    assert equal(part, sample_scenes(torch.arange(10, 13)))


@pytest.mark.parametrize("seed", [-1, 0, (1 << 62) + 5, -(1 << 62)])
def test_any_seed_gives_finite_numbers(seed):
    scene = sample_scenes(torch.tensor([seed]))
    assert all(getattr(scene, f.name).isfinite().all() for f in fields(scene))


def test_sizes_of_rooms_and_objects(scene):
    low, high = torch.tensor([1.7, 2.4, 1.9]), torch.tensor([3.4, 3.3, 3.8])
    assert ((scene.room >= low) & (scene.room <= high)).all()
    assert (scene.room.amax(0) - scene.room.amin(0) > 0.9 * (high - low)).all()
    ranges = {
        SPHERE: ((0.26, 0.58), (0.26, 0.58)),
        BOX: ((0.24, 0.58), (0.2, 0.75)),
        CYLINDER: ((0.2, 0.46), (0.25, 0.8)),
        CONE: ((0.3, 0.56), (0.38, 0.8)),
    }
    for kind, (wide, tall) in ranges.items():
        x, y, z = scene.half[scene.kind == kind].unbind(1)
        for sizes, (low, high) in ((x, wide), (z, wide), (y, tall)):
            assert low <= sizes.min() < low + 0.05 * (high - low)
            assert high - 0.05 * (high - low) < sizes.max() <= high
        if kind != BOX:
            assert torch.equal(x, z)  # round from above
        if kind == SPHERE:
            assert torch.equal(x, y)


def test_objects_are_in_the_room_apart_and_away_from_the_camera(scene):
    reach = torch.where(scene.kind == BOX, scene.half[..., ::2].norm(dim=-1), scene.half[..., 0])
    low = scene.room[:, None] - reach[..., None] - scene.centre.abs()
    assert low[..., ::2][scene.active].min() > 0
    y = scene.centre[..., 1]
    assert (y - scene.half[..., 1])[scene.active].min() > -1e-5
    assert (scene.room[:, 1:2] - y - scene.half[..., 1])[scene.active].min() > -1e-5
    plan = scene.centre[..., ::2]
    away = (plan - scene.eye[:, None, ::2]).norm(dim=-1) - reach
    assert away[scene.active].min() > 0.7
    gap = torch.cdist(plan, plan) - reach[:, None] - reach[:, :, None]
    gap = gap.masked_fill(torch.eye(gap.shape[1], dtype=torch.bool), math.inf)
    both = scene.active[:, None] & scene.active[:, :, None]
    assert gap[both].min() > 0
    assert (scene.eye[:, ::2].abs() < scene.room[:, ::2] - 0.1).all()
    for lamp in (scene.day, scene.night):
        assert (lamp[:, 0].abs() < scene.room[:, 0]).all()
        assert ((lamp[:, 1] > 0) & (lamp[:, 1] < scene.room[:, 1])).all()
        assert (lamp[:, 2].abs() < scene.room[:, 2]).all()
        clear = (plan - lamp[:, None, 0:3:2]).norm(dim=-1) - reach
        assert clear[scene.active].min() > 0


def test_objects_stand_float_or_hang_and_no_cone_hangs(scene):
    bottom = (scene.centre - scene.half)[..., 1][scene.active]
    gap = (scene.room[:, 1:2] - (scene.centre + scene.half)[..., 1])[scene.active]
    kind = scene.kind[scene.active]
    stands, hangs = bottom.abs() < 1e-5, gap.abs() < 1e-5
    floats = ~stands & ~hangs
    assert bottom[floats].min() > 0.2
    assert gap[floats].min() > 0.2
    assert 0.6 < stands.float().mean() < 0.9
    assert 0.05 < floats.float().mean() < 0.3
    assert hangs.sum() > 10
    assert not (hangs & (kind == CONE)).any()


def test_there_are_one_to_five_objects_of_every_kind(scene):
    count = scene.active.sum(1)
    assert count.max() == MAX_OBJECTS
    assert (count == 0).float().mean() < 0.1
    assert 1.5 < count.float().mean() < 3.5
    shares = scene.kind[scene.active].bincount(minlength=len(KINDS)) / scene.active.sum()
    assert ((shares > 0.15) & (shares < 0.35)).all()
    assert CLASSES[3:] == KINDS
    assert [KINDS[k] for k in (SPHERE, BOX, CYLINDER, CONE)] == [
        "sphere",
        "box",
        "cylinder",
        "cone",
    ]


def test_the_camera_has_right_angles_and_looks_at_the_objects(scene):
    gram = scene.axes @ scene.axes.mT
    torch.testing.assert_close(gram, torch.eye(3).expand(500, 3, 3), atol=1e-6, rtol=0)
    right, down, forward = scene.axes.unbind(1)
    assert (down[:, 1] < -0.4).all()  # nobody stands on their head
    assert (right[:, 1].abs() < 0.07).all()  # and it tilts by less than four degrees
    # From the wall across the room, not out of it.
    assert ((forward * -scene.eye)[:, ::2].sum(1) > 0).float().mean() > 0.95
    assert ((scene.eye[:, 1] >= 1.0) & (scene.eye[:, 1] <= 1.85)).all()
    offset = scene.centre - scene.eye[:, None]
    x, y, depth = (torch.einsum("bkc,bc->bk", offset, axis) for axis in (right, down, forward))
    reach = scene.tan_half[:, None] * depth
    assert depth[scene.active].min() > 0.9
    assert (x.abs() / reach)[scene.active].max() < 0.9
    assert (y.abs() / reach)[scene.active].max() < 0.92


def test_turns_are_angles_and_every_surface_has_a_texture(scene):
    torch.testing.assert_close(scene.turn.norm(dim=-1), torch.ones(500, MAX_OBJECTS))
    assert scene.textures.shape == (500, FACES + MAX_OBJECTS, COLUMNS)


def test_days_are_bright_and_differ_nights_are_dim_and_alike(scene):
    day, night = scene.day[:, 3:], scene.night[:, 3:]
    assert (day > 0.3).all()
    assert len(day.unique(dim=0)) == 500
    assert len(night.unique(dim=0)) == 1
    assert night[0, 0] > night[0, 1] > night[0, 2] > 0  # a warm lantern
    assert night[0, 3:].max() < 0.1
    assert ((scene.room[:, 1] - scene.day[:, 1]) - 0.06).abs().max() < 1e-5
    # It hangs to the left of the camera, at an arm's length unless a wall is nearer.
    offset = scene.night[:, :3] - scene.eye
    aside = (offset * scene.axes[:, 0])[:, ::2].sum(1)
    inside = (offset[:, ::2].norm(dim=1) - 0.6).abs() < 0.01
    assert inside.float().mean() > 0.3
    assert ((aside + 0.6).abs() < 0.02)[inside].all()
    assert offset[:, ::2].norm(dim=1).max() < 0.61
