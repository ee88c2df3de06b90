import pytest
import torch
import torch.nn.functional as F
from torch import nn

import anyteacher as at
from anyteacher.errors import ConfigError, LayoutError
from anyteacher.window import Part, Window, cut, seen_by

SIZE = (64, 96)


def ramps(size, *, top=0.0, left=0.0, stride=(1.0, 1.0)):
    """A picture of its own coordinates: of each position the row and column of its centre."""
    rows = top + stride[0] * (torch.arange(size[0], dtype=torch.float64) + 0.5)
    columns = left + stride[1] * (torch.arange(size[1], dtype=torch.float64) + 0.5)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]


@pytest.mark.parametrize("resize", ["auto", "pool", "bilinear"])
@pytest.mark.parametrize("grid", [(4, 5), (5, 7), (11, 13), (32, 48)])
@pytest.mark.parametrize(
    "window", [Window(8, 16, 40, 56), Window(13, 9, 30, 61)], ids=["on cells", "between cells"]
)
def test_a_position_of_the_cut_is_where_it_says(window, grid, resize):
    """Each new position holds the coordinates of its own centre, in pixels of the whole image."""
    feature = ramps((8, 12), stride=(8.0, 8.0))
    found = cut(feature, window.part_of(SIZE), grid, resize=resize)
    stride = (window.height / grid[0], window.width / grid[1])
    expected = ramps(grid, top=window.top, left=window.left, stride=stride)
    shrinks = grid[0] <= window.height / 8 and grid[1] <= window.width / 8
    if resize == "bilinear" or (resize == "auto" and not shrinks):
        torch.testing.assert_close(found, expected)
    else:
        # A mean over whole cells and parts of cells lies within half a cell of the centre: parts
        # of a cell have the cell's own number. Where the cells fit, it is exact.
        assert (found - expected).abs().max() <= 4
        if window.top % 8 == 0 and grid == (5, 7):
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("grid", [(3, 4), (5, 5), (2, 7)])
def test_pooling_averages_over_areas(grid):
    """Against many samples of each cell of a map that is constant within its positions."""
    torch.manual_seed(0)
    feature = torch.rand(2, 3, 6, 9, dtype=torch.float64)
    part = Part(0.1, 0.2, 0.85, 0.9)
    found = cut(feature, part, grid, resize="pool")
    fine = 600
    rows = part.top + (part.bottom - part.top) * (torch.arange(fine) + 0.5) / fine
    columns = part.left + (part.right - part.left) * (torch.arange(fine * 7) + 0.5) / (fine * 7)
    sampled = feature[:, :, (rows * 6).long()][:, :, :, (columns * 9).long()]
    expected = F.adaptive_avg_pool2d(sampled, grid)
    torch.testing.assert_close(found, expected, atol=3e-3, rtol=0)


def test_the_whole_image_is_resized_as_ever():
    feature = torch.rand(2, 3, 8, 12)
    whole = Window(0, 0, *SIZE).part_of(SIZE)
    torch.testing.assert_close(cut(feature, whole), feature)
    torch.testing.assert_close(cut(feature, whole, (4, 6)), F.adaptive_avg_pool2d(feature, (4, 6)))
    larger = F.interpolate(feature, (16, 20), mode="bilinear", align_corners=False)
    torch.testing.assert_close(cut(feature, whole, (16, 20)), larger)


def test_without_a_grid_it_keeps_the_resolution():
    feature = ramps((8, 12), stride=(8.0, 8.0))
    found = cut(feature, Window(16, 24, 32, 48).part_of(SIZE))
    torch.testing.assert_close(found, feature[:, :, 2:6, 3:9])


def test_gradients_and_half_precision():
    feature = torch.rand(1, 2, 6, 6, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = cut(feature, Part(0.0, 0.0, 0.5, 0.5), (3, 3))
    assert found.dtype == torch.bfloat16
    found.sum().backward()
    assert feature.grad[0, :, :3, :3].eq(1).all()
    assert feature.grad[0, :, 3:].eq(0).all()


def test_what_each_side_sees():
    images = torch.rand(2, 3, 20, 30)
    assert seen_by(images, 0) == (images, None, None)
    seen = seen_by(images, 4)
    assert seen.window == Window(4, 4, 12, 22)
    assert torch.equal(seen.student, images[:, :, 4:16, 4:26])
    assert seen.teacher is images
    for margin in (10, -1):
        with pytest.raises(ConfigError, match=rf"margin of {margin} pixels .* of 20 x 30"):
            seen_by(images, margin)


def test_what_belongs_to_the_pixels_is_cropped():
    batch = {
        "image": torch.rand(2, 3, 20, 30),
        "depth": torch.rand(2, 1, 20, 30),
        "segmentation": torch.zeros(2, 20, 30, dtype=torch.int64),
        "label": torch.tensor([1, 2]),
        "labels": torch.rand(20, 30),  # 20 images of 30 classes are no picture
    }
    cropped = Window(1, 2, 3, 4).crop_all(batch)
    assert {key: tuple(value.shape) for key, value in cropped.items()} == {
        "image": (2, 3, 3, 4),
        "depth": (2, 1, 3, 4),
        "segmentation": (2, 3, 4),
        "label": (2,),
        "labels": (20, 30),
    }
    assert torch.equal(cropped["depth"], batch["depth"][:, :, 1:4, 2:6])


def test_a_window_outside_is_refused():
    for window in (Window(30, 0, 40, 40), Window(-1, 0, 4, 4), Window(0, 0, 0, 4)):
        with pytest.raises(ConfigError, match=r"does not lie inside .* of 64 x 96"):
            window.part_of(SIZE)


class Blocks(nn.Module):
    """The means of its input over squares of 8 pixels: a feature that knows where it is."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AvgPool2d(8)
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return self.pool(images) * self.weight


class Tokens(nn.Module):
    """The same as tokens, with a class token in front."""

    def __init__(self, prefix=1):
        super().__init__()
        self.body, self.cls, self.prefix = Blocks(), nn.Identity(), prefix
        self.norm = nn.LayerNorm(3, elementwise_affine=False)
        self.out = nn.Identity()

    def forward(self, images):
        tokens = self.body(images).flatten(2).transpose(1, 2)
        return self.out(torch.cat([torch.zeros_like(tokens[:, : self.prefix]), tokens], 1))


def linked(teacher, tap, **settings):
    link = at.Link("pool", tap, direction="none", **settings)
    coordinates = torch.cat([ramps((96, 128)), torch.ones(1, 1, 96, 128)], 1).repeat(2, 1, 1, 1)
    images = coordinates.float() / 128
    student = images[:, :, 16:80, 24:104]
    distiller = at.Distiller(Blocks(), teacher, [link], example=student)
    return distiller, student, images


@pytest.mark.parametrize(
    ("teacher", "tap"),
    [
        (Blocks(), "pool"),
        (Tokens(), "out"),
        (at.Teacher(Blocks(), size=(192, 256)), "pool"),  # twice as fine a grid of the same view
    ],
    ids=["map", "tokens", "of another size"],
)
def test_a_teacher_that_sees_more_is_compared_where_the_student_looks(teacher, tap):
    """The features of coordinates agree to rounding exactly where the views are matched."""
    distiller, student, images = linked(teacher, tap)
    window = at.Window(16, 24, 64, 80)
    right = distiller(student, teacher_images=images, window=window).total
    assert right < 1e-9
    moved = distiller(student, teacher_images=images, window=at.Window(8, 24, 64, 80)).total
    torch.testing.assert_close(moved, torch.tensor((8 / 128) ** 2 / 3), rtol=1e-3, atol=0)
    # Without the window the whole of one is compared with the whole of the other.
    assert distiller(student, teacher_images=images).total > 1e-3


def test_the_teachers_grid_may_be_kept():
    distiller, student, images = linked(Blocks(), "pool", grid="teacher")
    window = at.Window(16, 24, 64, 80)
    (view,) = distiller.views(student, teacher_images=images, window=window)
    assert view.compared.teacher.shape == (2, 3, 8, 10)
    torch.testing.assert_close(view.compared.teacher, view.compared.student)


def test_pooled_features_are_of_all_that_a_teacher_sees():
    distiller, student, images = linked(Blocks(), "pool", compare="pooled")
    out = distiller(student, teacher_images=images, window=at.Window(0, 0, 64, 80))
    expected = (student.mean((2, 3)) - images.mean((2, 3))).square().mean()
    torch.testing.assert_close(out.total, expected)


def test_losses_of_any_grid_see_the_part_alone():
    distiller, student, images = linked(Blocks(), "pool", loss=at.losses.SP())
    images = torch.rand_like(images)
    student = images[:, :, 16:80, 24:104]
    window = at.Window(16, 24, 64, 80)
    assert distiller(student, teacher_images=images, window=window).total < 1e-9
    assert distiller(student, teacher_images=images).total > 1e-9


def test_tokens_without_a_grid_are_refused():
    student = Tokens(prefix=0)
    link = at.Link("out", "out", direction="none")
    # 23 tokens fill no grid of these images, on either side: they are compared one by one.
    images = torch.rand(2, 3, 8, 8 * 23)
    cut_off = images[:, :, :, :100]
    distiller = at.Distiller(student, Tokens(prefix=0), [link], example=cut_off)
    level = distiller.connections[0].levels[0]
    object.__setattr__(level, "teacher", at.Layout("tokens", grid=(23, 1)))
    with pytest.raises(LayoutError, match=r"fill no grid, so that the student's view cannot be"):
        distiller(cut_off, teacher_images=images, window=at.Window(0, 0, 8, 100))


def test_a_window_needs_images_of_the_teacher():
    distiller, student, images = linked(Blocks(), "pool")
    with pytest.raises(ConfigError, match=r"A window says where .* lie in teacher_images"):
        distiller(student, window=at.Window(0, 0, 8, 8))
    with pytest.raises(ConfigError, match=r"inside of the teacher's images of 96 x 128"):
        distiller(student, teacher_images=images, window=at.Window(0, 0, 97, 8))
