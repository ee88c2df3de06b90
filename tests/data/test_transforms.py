"""What moves the image moves depth, classes and normals: on ramps, whose values tell the place."""

import pytest
import torch
import torchvision.transforms.v2.functional as V
from torchvision import tv_tensors
from torchvision.transforms import v2

from anyteacher.data.augmentation import View, fixed_view
from anyteacher.data.source import PIXELS
from anyteacher.data.transforms import KINDS, Classes, DepthMap, Normals, apply, nearest
from anyteacher.errors import ConfigError
from anyteacher.normalization import IMAGENET, ImageNorm


def ramp(height, width):
    """A picture whose first two colours are the place of each pixel, and depth that is its column.

    The column counts from the pixel's centre, 0.5 to width - 0.5.
    """
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([columns, rows, torch.full_like(rows, 7)]).to(torch.uint8)
    normals = torch.tensor([0.6, 0.0, -0.8])[:, None, None].expand(3, height, width).clone()
    return {
        "image": image,
        "segmentation": columns.to(torch.uint8),
        "depth": columns[None] + 0.5,
        "normals": normals,
        "label": torch.tensor(3),
    }


def seen(view, **keys):
    height, width = (view.part[i] + view.part[i + 2] for i in range(2))
    return apply(view, {**ramp(height, width), **keys}, ImageNorm())


def test_every_key_of_pixels_is_moved():
    assert set(KINDS) == set(PIXELS)


def test_nothing_changes_where_the_view_is_the_picture():
    sample, moved = ramp(6, 8), seen(View((0, 0, 6, 8), (6, 8), (0, 0, 6, 8)))
    assert torch.equal(moved["image"] * 255, sample["image"].float())
    for key in ("segmentation", "depth", "normals", "label"):
        assert torch.equal(moved[key], sample[key])
    assert {key: value.dtype for key, value in moved.items()} == {
        "image": torch.float32,
        "segmentation": torch.int64,
        "depth": torch.float32,
        "normals": torch.float32,
        "label": torch.int64,
    }
    assert all(type(value) is torch.Tensor for value in moved.values())


def test_a_crop_moves_all_alike():
    moved = seen(View((2, 3, 4, 5), (4, 5), (0, 0, 4, 5)))
    assert (moved["image"][0, 0] * 255).tolist() == [3, 4, 5, 6, 7]
    assert (moved["image"][1, :, 0] * 255).tolist() == [2, 3, 4, 5]
    assert moved["segmentation"][0].tolist() == [3, 4, 5, 6, 7]
    assert moved["depth"][0, 0].tolist() == [3.5, 4.5, 5.5, 6.5, 7.5]


@pytest.mark.parametrize(("before", "after"), [(12, 4), (4, 12), (90, 30), (30, 90)])
def test_the_middle_of_a_resized_pixel_lies_where_the_image_has_it(before, after):
    """By a whole factor: the image's ramp and the depth under it agree to the pixel's width."""
    sample = ramp(3, before)
    del sample["normals"]  # which would not survive being stretched
    moved = apply(View((0, 0, 3, before), (3, after), (0, 0, 3, after)), sample, ImageNorm())
    centres = (torch.arange(after) + 0.5) * before / after
    image = moved["image"][0, 0] * 255 + 0.5
    inner = slice(after // 4, -(after // 4))  # at its ends a ramp stops, which blurs
    assert (image - centres)[inner].abs().max() <= 0.51  # 8 bits
    off = moved["depth"][0, 0] - centres
    if before > after:  # an odd number of pixels: the middle one is exact, at the borders, too
        assert off.abs().max() < 1e-6
    else:
        assert off.abs().max() <= 0.5
        assert abs(off.mean()) < 1e-5  # no shift
    assert torch.equal(moved["segmentation"][0], (moved["depth"][0, 0] - 0.5).long())


def test_torchvisions_own_mask_would_be_shifted():
    """Why these have kernels of their own."""
    columns = torch.arange(12)[None].repeat(3, 1)
    theirs = V.resize(tv_tensors.Mask(columns), [3, 4])[0].tolist()
    ours = V.resize(Classes(columns), [3, 4])[0].tolist()
    assert theirs == [0, 3, 6, 9]
    assert ours == [1, 4, 7, 10]


def test_no_depth_or_class_is_made_up_at_an_edge():
    depth = torch.full((1, 5, 10), 2.0)
    depth[..., 5:] = 9.0
    depth[:, 0] = 0
    labels = torch.zeros(5, 10, dtype=torch.uint8)
    labels[:, 5:] = 200
    view = View((0, 0, 5, 10), (7, 13), (0, 0, 7, 13))
    moved = seen(view, depth=depth, segmentation=labels)
    assert moved["depth"].unique().tolist() == [0, 2, 9]
    assert moved["segmentation"].unique().tolist() == [0, 200]


def test_outside_of_a_picture_nothing_is_known():
    view = View((0, 0, 3, 4), (6, 8), (1, 3, 3, 4))
    moved = apply(view, ramp(3, 4), IMAGENET)
    inside = torch.zeros(6, 8, dtype=torch.bool)
    inside[1:4, 3:7] = True
    assert torch.equal(moved["segmentation"] != 255, inside)
    assert torch.equal(moved["depth"][0] > 0, inside)
    assert torch.equal(moved["normals"].norm(dim=0) > 0, inside)
    assert moved["segmentation"][1, 3:7].tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(
        moved["image"][:, ~inside].mean(1), torch.tensor(IMAGENET.mean), atol=1 / 255, rtol=0
    )


def test_a_mirror_turns_the_normals_x_and_nothing_else_of_them():
    view = View((0, 0, 3, 6), (3, 6), (0, 0, 3, 6), mirrored=True)
    moved = seen(view)
    assert moved["segmentation"][0].tolist() == [5, 4, 3, 2, 1, 0]
    assert moved["depth"][0, 0, 0] == 5.5
    assert (moved["image"][0, 0] * 255).tolist() == [5, 4, 3, 2, 1, 0]
    torch.testing.assert_close(moved["normals"][:, 1, 1], torch.tensor([-0.6, 0, -0.8]))


def test_the_mirror_image_of_a_sphere_is_that_of_its_normals():
    """A sphere off the middle: mirroring the scene and mirroring the picture give the same."""
    rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(15.0), indexing="ij")

    def normals(centre):
        x, y = (columns - centre) / 4, (rows - 4) / 4
        z = -(1 - x**2 - y**2).clamp(min=0).sqrt()
        return torch.where(x**2 + y**2 < 1, torch.stack([x, y, z]), 0.0)

    view = View((0, 0, 9, 15), (9, 15), (0, 0, 9, 15), mirrored=True)
    moved = seen(view, normals=normals(5.0))
    torch.testing.assert_close(moved["normals"], normals(14 - 5.0))


def test_twice_as_large_is_half_as_far():
    """A wall at 6 m that a camera sees 8 pixels wide is 16 wide from 3 m."""
    depth = torch.full((1, 8, 8), 6.0)
    depth[0, 0, 0] = 0
    view = View((0, 0, 4, 4), (8, 8), (0, 0, 8, 8), zoom=2)
    moved = apply(
        view, {"image": torch.zeros(3, 8, 8, dtype=torch.uint8), "depth": depth}, IMAGENET
    )
    assert moved["depth"].unique().tolist() == [0, 3]
    usual = fixed_view((8, 8), (4, 4), "crop")  # a smaller picture of the same view is as far
    moved = apply(
        usual, {"image": torch.zeros(3, 8, 8, dtype=torch.uint8), "depth": depth}, IMAGENET
    )
    assert moved["depth"].max() == 6


def test_colours_vary_in_the_image_alone():
    view = View((0, 0, 4, 6), (4, 6), (0, 0, 4, 6), color=(1.5, 1, 1))
    moved, plain = seen(view), seen(View((0, 0, 4, 6), (4, 6), (0, 0, 4, 6)))
    torch.testing.assert_close(moved["image"], plain["image"] * 1.5, atol=1 / 255, rtol=0)
    for key in ("segmentation", "depth", "normals"):
        assert torch.equal(moved[key], plain[key])
    grey = seen(View((0, 0, 4, 6), (4, 6), (0, 0, 4, 6), color=(1, 1, 0)))["image"]
    assert (grey - grey[:1]).abs().max() < 2 / 255


def test_bars_keep_their_colour():
    view = View((0, 0, 4, 6), (8, 6), (2, 0, 4, 6), color=(1.3, 0.8, 0.5))
    moved = apply(view, ramp(4, 6), IMAGENET)["image"]
    mean = torch.tensor(IMAGENET.mean)[:, None, None].expand(3, 2, 6)
    torch.testing.assert_close(moved[:, :2], mean, atol=1 / 255, rtol=0)


@pytest.mark.parametrize("before", [(1, 9), (9, 1), (30, 40)])
@pytest.mark.parametrize("after", [(1, 1), (1, 7), (7, 1), (12, 2)])
def test_pictures_of_a_single_pixel_are_resized_as_larger_ones_are(before, after):
    image = torch.randint(256, (3, *before), generator=torch.Generator().manual_seed(0))
    view = View((0, 0, *before), after, (0, 0, *after))
    moved = apply(view, {"image": image.to(torch.uint8)}, IMAGENET)["image"]
    fine = torch.nn.functional.interpolate(
        image[None].double(), after, mode="bilinear", antialias=True
    )[0]
    torch.testing.assert_close(moved.double() * 255, fine, atol=1.1, rtol=0)


def test_what_cannot_be_right_is_refused():
    target = torch.zeros(3, 4, 6, dtype=torch.uint8)
    with pytest.raises(ConfigError, match="augmentation's color at 0"):
        seen(View((0, 0, 4, 6), (4, 6), (0, 0, 4, 6), color=(1, 1, 2)), target=target)
    with pytest.raises(ConfigError, match=r"ratio at \(1, 1\)"):
        seen(View((0, 0, 20, 20), (20, 40), (0, 0, 20, 40)))
    with pytest.raises(ConfigError, match=r"ratio at \(1, 1\)"):
        seen(View((0, 0, 200, 200), (200, 206), (0, 0, 200, 206)))
    seen(View((0, 0, 20, 21), (10, 10), (0, 0, 10, 10)))  # by whole pixels alone
    with pytest.raises(ConfigError, match="Normals do not survive"):
        V.resize(Normals(torch.zeros(3, 20, 20)), [20, 40])
    for size in ((1, 1), (2, 2), (3, 40)):
        for picture in ((10, 1), (1, 10), (100, 3), (3, 100)):
            seen(fixed_view(picture, size, "crop"))
            seen(fixed_view(picture, size, "pad"))


def test_a_target_is_moved_as_the_image_is():
    target = ramp(6, 9)["image"].flip(0)
    moved = seen(View((1, 2, 5, 7), (8, 12), (1, 1, 6, 10), mirrored=True), target=target)
    outside = torch.ones(8, 12, dtype=torch.bool)
    outside[1:7, 1:11] = False  # its place in the view, from left to right and back
    assert torch.equal(moved["target"].isnan(), outside.expand(3, -1, -1))
    assert torch.equal(moved["target"][[1, 2]][:, ~outside], moved["image"][[1, 0]][:, ~outside])
    moved = seen(View((1, 2, 5, 7), (8, 12), (0, 0, 6, 10), mirrored=True), target=target)
    assert moved["target"].isnan().all(0).all(0).tolist() == [True] * 2 + [False] * 10


def test_torchvisions_transforms_move_these_kinds_too():
    sample = ramp(40, 60)
    kinds = {key: KINDS[key](sample[key]) for key in ("image", "segmentation", "depth", "normals")}
    moved = v2.Compose(
        [
            v2.RandomResizedCrop((16, 24), ratio=(1.5, 1.5)),
            v2.RandomHorizontalFlip(1),
            v2.RandomVerticalFlip(1),
        ]
    )(kinds)
    assert {key: type(value) for key, value in moved.items()} == {
        "image": tv_tensors.Image,
        "segmentation": Classes,
        "depth": DepthMap,
        "normals": Normals,
    }
    off = moved["image"][0].float() + 0.5 - moved["depth"][0]
    assert abs(float(off.mean())) < 0.3
    assert torch.equal(moved["segmentation"], moved["depth"][0].long())
    torch.testing.assert_close(
        moved["normals"][:, 3, 3].as_subclass(torch.Tensor), torch.tensor([-0.6, 0.0, -0.8])
    )


def test_a_vertical_flip_turns_y():
    normals = Normals(torch.tensor([0.0, 0.6, -0.8])[:, None, None].repeat(1, 2, 2))
    assert V.vertical_flip(normals)[:, 0, 0].tolist() == pytest.approx([0, -0.6, -0.8])


def test_transforms_that_would_have_to_turn_normals_are_refused():
    normals = Normals(torch.zeros(3, 4, 4))
    with pytest.raises(ConfigError, match="Normals would have to be turned"):
        V.rotate(normals, 30.0)
    with pytest.raises(ConfigError, match="two sides, not to"):
        V.resize(normals, [3])


def test_nearest_picks_the_pixel_under_each_centre():
    row = torch.arange(10)[None]
    assert nearest(row, (1, 5)).tolist() == [[1, 3, 5, 7, 9]]
    assert nearest(row, (1, 3)).tolist() == [[1, 5, 8]]
    assert nearest(row, (2, 10)).tolist() == [list(range(10))] * 2
    for old, new in ((7, 3), (3, 7), (224, 640), (640, 224)):
        exact = [int((i + 0.5) * old / new) for i in range(new)]
        assert nearest(torch.arange(old)[None], (1, new))[0].tolist() == exact
