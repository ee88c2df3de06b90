import functools

import pytest
import torch

from anyteacher.data.rooms import CLASSES, EXTRA_TARGETS, KINDS, TARGETS, VISIBLE_SHARE, render
from anyteacher.data.rooms.scene import BOX, CONE, CYLINDER, SPHERE, sample_scenes
from anyteacher.errors import ConfigError

EVERYTHING = (*TARGETS, *EXTRA_TARGETS)
SEEDS = torch.arange(64)
H, W = 48, 64


@functools.cache
def scenes():
    return render(SEEDS, H, W, targets=EVERYTHING)


def pixel_rays(scene, height, width):
    """The ray through the centre of each pixel in the camera's frame, forward 1: (b, 3, h, w)."""
    y, x = torch.meshgrid(
        torch.arange(height) + 0.5 - height / 2,
        torch.arange(width) + 0.5 - width / 2,
        indexing="ij",
    )
    scale = (scene.tan_half * 2 / min(height, width))[:, None, None]
    return torch.stack((x * scale, y * scale, torch.ones_like(x * scale)), 1)


def world_points():
    scene, batch = sample_scenes(SEEDS), scenes()
    camera = pixel_rays(scene, H, W) * batch["depth"]
    return scene.eye[:, :, None, None] + torch.einsum("bkc,bkhw->bchw", scene.axes, camera)


def test_shapes_types_and_ranges():
    batch = scenes()
    b = len(SEEDS)
    assert batch["image"].shape == batch["relit"].shape == batch["normals"].shape == (b, 3, H, W)
    assert batch["depth"].shape == batch["edges"].shape == (b, 1, H, W)
    assert batch["segmentation"].shape == batch["instances"].shape == (b, H, W)
    assert batch["presence"].shape == batch["count"].shape == (b, len(KINDS))
    assert {k for k, v in batch.items() if v.dtype == torch.int64} == {
        "segmentation",
        "instances",
        "count",
    }
    for key in ("image", "relit"):
        assert 0 <= batch[key].min() < batch[key].max() <= 1
    assert batch["depth"].isfinite().all()
    assert batch["depth"].min() > 0.2
    assert set(batch["edges"].unique().tolist()) == {0.0, 1.0}


def test_every_class_and_kind_occurs_and_the_night_is_darker():
    batch = scenes()
    shares = (
        batch["segmentation"].flatten().bincount(minlength=len(CLASSES)) / SEEDS.numel() / H / W
    )
    assert (shares > 0.02).all()
    assert len(shares) == len(CLASSES)
    assert ((batch["presence"].mean(0) > 0.25) & (batch["presence"].mean(0) < 0.75)).all()
    assert batch["count"].sum(1).max() >= 4
    assert batch["relit"].mean() < 0.8 * batch["image"].mean()


def test_points_lie_on_the_surface_that_their_class_says():
    scene, batch, points = sample_scenes(SEEDS), scenes(), world_points()
    x, y, z = points.unbind(1)
    half_x, height, half_z = (scene.room[:, i, None, None] for i in range(3))
    room = (x.abs() - half_x, -y, y - height, z.abs() - half_z)
    assert torch.stack(room).max() < 1e-4
    seg = batch["segmentation"]
    assert y[seg == 0].abs().max() < 1e-4
    assert (y - height)[seg == 2].abs().max() < 1e-4
    on_wall = torch.minimum((x.abs() - half_x).abs(), (z.abs() - half_z).abs())
    assert on_wall[seg == 1].max() < 1e-4
    for b, k in torch.nonzero(scene.active).tolist():
        mask = batch["instances"][b] == k + 1
        if not mask.any():
            continue
        kind = int(scene.kind[b, k])
        assert (seg[b][mask] == 3 + kind).all()
        local = points[b][:, mask] - scene.centre[b, k][:, None]
        hx, hy, hz = scene.half[b, k]
        rho = local[::2].norm(dim=0)
        cos, sin = scene.turn[b, k]
        distance = {
            SPHERE: lambda p=local, r=hx: p.norm(dim=0) - r,
            CYLINDER: lambda p=local, q=rho, r=hx, h=hy: torch.maximum(q - r, p[1].abs() - h),
            CONE: lambda p=local, q=rho, r=hx, h=hy: torch.maximum(
                q - r * (h - p[1]) / (2 * h), -h - p[1]
            ),
            BOX: lambda p=local, h=(hx, hy, hz), c=cos, s=sin: torch.stack(
                (
                    (c * p[0] + s * p[2]).abs() - h[0],
                    p[1].abs() - h[1],
                    (c * p[2] - s * p[0]).abs() - h[2],
                )
            ).amax(0),
        }[kind]()
        assert distance.abs().max() < 1e-3, (b, k, KINDS[kind])


def test_normals_are_those_of_the_depth_map():
    """On flat ground the cross product of neighbouring points is the normal."""
    scene, batch = sample_scenes(SEEDS), scenes()
    points = (pixel_rays(scene, H, W) * batch["depth"]).double()
    normals = batch["normals"].double()
    assert (normals.norm(dim=1) - 1).abs().max() < 1e-5
    # What is seen faces the camera.
    assert (normals * pixel_rays(scene, H, W)).sum(1).max() < 1e-5
    across = points[..., 1:-1, 2:] - points[..., 1:-1, :-2]
    along = points[..., 2:, 1:-1] - points[..., :-2, 1:-1]
    found = torch.linalg.cross(along, across, dim=1)
    found = found / found.norm(dim=1, keepdim=True)
    angle = 1 - (found * normals[..., 1:-1, 1:-1]).sum(1)
    flat = (batch["edges"][:, 0, 1:-1, 1:-1] == 0) & (batch["segmentation"][:, 1:-1, 1:-1] < 3)
    assert flat.double().mean() > 0.5
    assert angle[flat].max() < 1e-3
    round_ = (batch["edges"][:, 0, 1:-1, 1:-1] == 0) & (batch["segmentation"][:, 1:-1, 1:-1] == 3)
    assert angle[round_].median() < 0.01


def test_edges_are_where_depth_normal_or_class_jumps():
    batch = scenes()
    edges, seg = batch["edges"][:, 0] > 0, batch["segmentation"]
    jump = torch.zeros_like(edges)
    change = seg[:, :, 1:] != seg[:, :, :-1]
    jump[:, :, 1:] |= change
    jump[:, :, :-1] |= change
    change = seg[:, 1:] != seg[:, :-1]
    jump[:, 1:] |= change
    jump[:, :-1] |= change
    assert edges[jump].all()
    # Away from edges, neighbours on flat ground share their normal.
    calm = ~edges[:, :, 1:] & ~edges[:, :, :-1] & (seg[:, :, 1:] < 3)
    turn = (batch["normals"][..., 1:] - batch["normals"][..., :-1]).norm(dim=1)
    assert turn[calm].max() < 1e-5
    assert 0.03 < edges.float().mean() < 0.3


def test_counts_agree_with_the_instances():
    batch = scenes()
    kinds = sample_scenes(SEEDS).kind
    for b in range(len(SEEDS)):
        expected = [0] * len(KINDS)
        for k in range(kinds.shape[1]):
            if (batch["instances"][b] == k + 1).sum().item() >= VISIBLE_SHARE * H * W:
                expected[int(kinds[b, k])] += 1
        assert batch["count"][b].tolist() == expected
        assert batch["presence"][b].tolist() == [float(n > 0) for n in expected]


@pytest.mark.parametrize("size", [1, 7])
def test_a_scene_has_the_same_bits_in_every_batch(size):
    whole = render(SEEDS[:21], H, W, targets=EVERYTHING)
    parts = [render(s, H, W, targets=EVERYTHING) for s in SEEDS[:21].split(size)]
    for key, value in whole.items():
        assert torch.equal(value, torch.cat([part[key] for part in parts])), key


def test_a_scene_has_the_same_bits_for_any_number_of_threads():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = render(SEEDS[:6], H, W, targets=EVERYTHING)
        torch.set_num_threads(3)
        three = render(SEEDS[:6], H, W, targets=EVERYTHING)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one[key], three[key]) for key in one)


def test_fewer_targets_give_the_same_values():
    for target in EVERYTHING:
        alone = render(SEEDS[:3], H, W, targets=[target])
        assert set(alone) == {"image", target}
        assert torch.equal(alone[target], scenes()[target][:3])
        assert torch.equal(alone["image"], scenes()["image"][:3])


def test_a_wide_picture_shows_the_square_one_in_its_middle():
    square = render(SEEDS[:4], 32, 32, targets=["depth", "segmentation"])
    wide = render(SEEDS[:4], 32, 48, targets=["depth", "segmentation"])
    assert torch.equal(wide["depth"][..., 8:40], square["depth"])
    assert torch.equal(wide["image"][..., 8:40], square["image"])


def test_errors_name_the_problem():
    with pytest.raises(ConfigError, match=r"no target 'detph'.*Did you mean depth"):
        render(SEEDS[:1], 8, 8, targets=["detph"])
    with pytest.raises(ConfigError, match="positive size; got 0 x 8"):
        render(SEEDS[:1], 0, 8)
