import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import anyteacher as at
from anyteacher.connection import Connection
from anyteacher.errors import ConfigError, LayoutError
from anyteacher.layout import Layout
from anyteacher.level import Source
from anyteacher.projectors import LowRank

SIZE = (16, 24)


def source(*shape, size=SIZE):
    return Source(torch.randn(*shape, dtype=torch.float64), size)


def connection(student, teacher, **settings):
    return Connection(at.Link("s", "t", **settings).filled(name="mine"), student, teacher)


FEATURES = {
    "maps": (source(3, 4, 4, 6), source(3, 7, 4, 6)),
    "channels last": (source(3, 4, 6, 5), source(3, 4, 6, 7)),
    "tokens": (source(3, 24 + 1, 5), source(3, 24 + 5, 7)),
    "vectors": (source(3, 5), source(3, 7)),
}


def rows(feature, name):
    """The feature matrix, written out for each layout."""
    if name == "maps":
        return feature.permute(0, 2, 3, 1).reshape(-1, feature.shape[1])
    if name == "tokens":
        return feature[:, feature.shape[1] - 24 :].reshape(-1, feature.shape[2])
    return feature.reshape(-1, feature.shape[-1])


def pooled(feature, name):
    if name == "vectors":
        return feature
    axes = {"maps": (2, 3), "channels last": (1, 2), "tokens": (1,)}[name]
    return (feature[:, feature.shape[1] - 24 :] if name == "tokens" else feature).mean(axes)


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("compare", ["positions", "pooled"])
@pytest.mark.parametrize("direction", ["inverted", "traditional"])
def test_mse_equals_the_formula_and_its_gradients(name, compare, direction):
    student, teacher = FEATURES[name]
    student = Source(student.feature.clone().requires_grad_(), SIZE)
    made = connection(student, teacher, compare=compare, direction=direction)
    form = rows if compare == "positions" else pooled
    z_s, z_t = form(student.feature.detach(), name), form(teacher.feature, name)
    weight = made.projector.linear.weight
    P = weight.detach().T
    residual = z_s - z_t @ P if direction == "inverted" else z_s @ P - z_t
    n, d = residual.shape
    loss = made(student, teacher)
    assert abs(float(loss.detach()) - float((residual**2).sum()) / (n * d)) < 1e-12
    loss.backward()
    to_rows = 2 * residual / (n * d)
    if direction == "inverted":
        expected_weight, expected_rows = -to_rows.T @ z_t, to_rows
    else:
        expected_weight, expected_rows = to_rows.T @ z_s, to_rows @ P.T
    torch.testing.assert_close(weight.grad, expected_weight, atol=1e-12, rtol=0)
    # The gradient of the student's feature, brought to rows as the feature itself is.
    places = 24 if compare == "pooled" and name != "vectors" else 1
    grad = form(student.feature.grad, name)
    torch.testing.assert_close(
        grad * (1 if places == 1 else places), expected_rows, atol=1e-12, rtol=0
    )


def test_unequal_grids_meet_on_the_side_that_is_kept():
    student, teacher = source(2, 3, 4, 6), source(2, 5, 8, 12)
    to_student = connection(student, teacher)
    small = F.avg_pool2d(teacher.feature, 2)
    expected = F.mse_loss(student.feature, to_student.projector(small))
    torch.testing.assert_close(to_student(student, teacher), expected, atol=1e-12, rtol=0)
    to_teacher = connection(student, teacher, grid="teacher", direction="traditional")
    large = F.interpolate(student.feature, (8, 12), mode="bilinear")
    expected = F.mse_loss(to_teacher.projector(large), teacher.feature)
    torch.testing.assert_close(to_teacher(student, teacher), expected, atol=1e-12, rtol=0)


def test_images_of_other_sizes_and_proportions_at_run_time():
    made = connection(source(2, 3, 4, 6), source(2, 24 + 1, 5))
    for size in ((24, 16), (32, 32), (20, 28)):
        student = source(2, 3, size[0] // 4, size[1] // 4, size=size)
        tokens = source(2, size[0] // 4 * (size[1] // 4) + 1, 5, size=size)
        patches = tokens.feature[:, 1:].reshape(2, size[0] // 4, size[1] // 4, 5)
        expected = F.mse_loss(student.feature.movedim(1, -1), made.projector.linear(patches))
        torch.testing.assert_close(made(student, tokens), expected, atol=1e-12, rtol=0)


def test_a_stated_prefix_needs_no_grid():
    student, teacher = source(2, 3, 4, 6), source(2, 24 + 3, 5)
    made = connection(student, teacher, teacher_layout=Layout("tokens", 3))
    patches = teacher.feature[:, 3:].reshape(2, 4, 6, 5)
    expected = F.mse_loss(student.feature.movedim(1, -1), made.projector.linear(patches))
    torch.testing.assert_close(made(student, teacher), expected, atol=1e-12, rtol=0)


def test_tokens_that_fill_no_grid_are_compared_one_by_one():
    student, teacher = source(2, 77, 3), source(2, 77, 5)
    made = connection(student, teacher)
    expected = F.mse_loss(student.feature, made.projector.linear(teacher.feature))
    torch.testing.assert_close(made(student, teacher), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("other", [(2, 3, 4, 6), (2, 76, 3), (2, 24, 3)])
def test_tokens_without_a_grid_fit_nothing_else(other):
    with pytest.raises(LayoutError, match=r"Link 'mine': features of shape .* no grid was found"):
        connection(source(2, 77, 3), source(*other))
    connection(source(2, 77, 3), source(*other), compare="pooled")


def test_the_norms_are_applied_before_the_projection():
    student, teacher = source(4, 3), source(4, 5)
    made = connection(student, teacher, student_norm="l2", teacher_norm="batch")
    z_s = F.normalize(student.feature)
    z_t = (teacher.feature - teacher.feature.mean(0)) / (
        teacher.feature.var(0, correction=0) + 1e-5
    ) ** 0.5
    expected = F.mse_loss(z_s, made.projector.linear(z_t))
    torch.testing.assert_close(made(student, teacher), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("direction", ["inverted", "traditional", "none"])
@pytest.mark.parametrize("norm", ["none", "batch", "layer", "l2"])
def test_it_follows_the_precision_it_is_moved_to(dtype, direction, norm):
    student, teacher = source(4, 5, 4, 6), source(4, 5, 4, 6)
    settings = {"direction": direction, "student_norm": norm, "teacher_norm": norm}
    made = connection(student, teacher, **settings)
    expected = made(student, teacher)
    moved = copy.deepcopy(made).to(dtype)
    # The teacher keeps a precision of its own.
    value = moved(Source(student.feature.to(dtype), SIZE), Source(teacher.feature.float(), SIZE))
    assert value.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(value.double(), expected, rtol=0.03, atol=0.03)


def test_batches_that_differ():
    made = connection(source(4, 3), source(4, 5))
    with pytest.raises(
        LayoutError, match=r"'mine': the student's feature has a batch of 4 and the"
    ):
        made(source(4, 3), source(3, 5))


def test_an_empty_batch():
    made = connection(source(4, 3), source(4, 5))
    with pytest.raises(LayoutError, match=r"Link 'mine': the batch is empty"):
        made(source(0, 3), source(0, 5))


def test_a_feature_that_changes_its_rank():
    made = connection(source(4, 3, 4, 6), source(4, 5, 4, 6))
    with pytest.raises(LayoutError, match=r"Link 'mine': a feature has shape \(4, 3\)"):
        made(source(4, 3), source(4, 5, 4, 6))


def test_what_a_projector_refuses_names_the_link():
    with pytest.raises(LayoutError, match=r"Link 'mine': LowRank of rank 4"):
        connection(source(4, 3), source(4, 5), projector=LowRank(4))
    with pytest.raises(LayoutError, match=r"Link 'mine': Without a projector MSE needs"):
        connection(source(4, 3), source(4, 5), direction="none")
    made = connection(source(4, 3), source(4, 5), student_norm="batch")
    with pytest.raises(LayoutError, match=r"Link 'mine': Normalising .* at least two rows"):
        made(source(1, 3), source(1, 5))


def test_links_share_no_parameters_though_they_share_a_description():
    link = at.Link("s", "t")
    first, second = (Connection(link, source(2, 3), source(2, 5)) for _ in range(2))
    assert first.projector is not second.projector
    assert first.projector.linear.weight is not second.projector.linear.weight
    assert not isinstance(link.projector, nn.Linear)
    assert not list(link.projector.parameters())


class TestLevels:
    """A link over several taps a side."""

    STUDENTS = (source(3, 4, 4, 6), source(3, 6, 2, 3))
    TEACHERS = (source(3, 7, 8, 12), source(3, 24 + 1, 5))

    def test_each_level_has_its_own_projector_and_the_losses_add_up(self):
        link = at.Link(["a", "b"], ["c", "d"], level_weights=[1.0, 0.5], name="levels")
        made = Connection(link, self.STUDENTS, self.TEACHERS)
        total = 0.0
        for level, weight in enumerate([1.0, 0.5]):
            single = connection(self.STUDENTS[level], self.TEACHERS[level])
            single.projector.load_state_dict(made.projector.levels[level].state_dict())
            total += weight * single(self.STUDENTS[level], self.TEACHERS[level])
        torch.testing.assert_close(
            made(self.STUDENTS, self.TEACHERS), total, atol=1e-12, rtol=1e-12
        )

    @pytest.mark.parametrize("direction", ["inverted", "traditional"])
    def test_a_projector_of_all_levels_sees_them_at_once(self, direction):
        link = at.Link(["a", "b"], ["c", "d"], projector=at.projectors.ABF(), direction=direction)
        made = Connection(link, self.STUDENTS, self.TEACHERS).eval()
        small = F.avg_pool2d(self.TEACHERS[0].feature, 2)
        patches = self.TEACHERS[1].feature[:, 1:].reshape(3, 4, 6, 5).permute(0, 3, 1, 2)
        sides = [x.feature for x in self.STUDENTS], [small, F.avg_pool2d(patches, 2)]
        before, after = sides if direction == "traditional" else sides[::-1]
        expected = sum(map(F.mse_loss, made.projector(before), after))
        value = made(self.STUDENTS, self.TEACHERS)
        torch.testing.assert_close(value, expected, atol=1e-12, rtol=1e-12)

    def test_a_list_of_one_tap_is_that_tap(self):
        single = connection(self.STUDENTS[0], self.TEACHERS[0])
        link = at.Link(["a"], ["c"], name="levels")
        made = Connection(link, self.STUDENTS[:1], self.TEACHERS[:1])
        made.load_state_dict(single.state_dict())
        expected = single(self.STUDENTS[0], self.TEACHERS[0])
        assert torch.equal(made(self.STUDENTS[:1], self.TEACHERS[:1]), expected)

    def test_what_does_not_fit_at_one_level_names_the_link(self):
        link = at.Link(["a", "b"], ["c", "d"], name="mine")
        with pytest.raises(LayoutError, match=r"Link 'mine': a vector of shape \(3, 6\)"):
            Connection(link, (self.STUDENTS[0], source(3, 6)), self.TEACHERS)
        none = link.filled(direction="none", loss=at.losses.FSP())
        with pytest.raises(LayoutError, match=r"'mine': .* FSP needs the same width .* got 4 "):
            Connection(none, self.STUDENTS, self.TEACHERS)

    def test_a_loss_of_all_levels_sees_them_at_once(self):
        class Both(at.losses.LevelLoss):
            def forward(self, student, teacher):
                assert [tuple(x.shape) for x in student] == [tuple(x.shape) for x in teacher]
                return sum((a - b).square().mean() for a, b in zip(student, teacher, strict=True))

        link = at.Link(["a", "b"], ["c", "d"], loss=Both(), direction="traditional")
        made = Connection(link, self.STUDENTS, self.TEACHERS)
        assert made(self.STUDENTS, self.TEACHERS) > 0
        assert len(made.losses) == 1


class Picky(at.losses.FeatureLoss):
    directions = ("traditional",)
    form = "positions"
    needs = ("targets",)
    because = "it is picky"

    def forward(self, student, teacher, targets):
        return (student - teacher).square().mean() * targets.sum()


def test_a_loss_refuses_what_it_has_no_meaning_for():
    student, teacher = FEATURES["maps"]
    with pytest.raises(
        ConfigError,
        match=r"Link 'mine': Picky cannot be used with direction='inverted', only with "
        "'traditional': it is picky",
    ):
        connection(student, teacher, loss=Picky())
    for features, compare in ((FEATURES["maps"], "pooled"), (FEATURES["vectors"], "positions")):
        with pytest.raises(LayoutError, match=r"Link 'mine': Picky needs maps or tokens"):
            connection(*features, loss=Picky(), direction="traditional", compare=compare)


def test_a_loss_that_needs_more_of_the_images_is_told_or_says_so():
    student, teacher = FEATURES["maps"]
    made = connection(student, teacher, loss=Picky(), direction="traditional")
    with pytest.raises(ConfigError, match=r"Link 'mine': Picky needs the targets of the images"):
        made(student, teacher)
    plain = connection(student, teacher, direction="traditional")
    plain.load_state_dict(made.state_dict())
    value = made(student, teacher, {"targets": torch.tensor([1, 2, 0]), "indices": None})
    torch.testing.assert_close(value, 3 * plain(student, teacher))


def test_a_loss_of_one_vector_an_image_needs_pooled_features():
    class Vectors(Picky):
        directions, form, needs = at.losses.DIRECTIONS, "images", ()

        def forward(self, student, teacher):
            return (student - teacher).square().mean()

    student, teacher = FEATURES["maps"]
    message = (
        r"Link 'mine': Vectors compares one vector an image: it is picky. Use compare='pooled'"
    )
    with pytest.raises(ConfigError, match=message):
        connection(student, teacher, loss=Vectors())
    assert connection(student, teacher, loss=Vectors(), compare="pooled")(student, teacher) > 0


@pytest.mark.parametrize(
    ("direction", "widths"),
    [("inverted", (4, 4)), ("traditional", (7, 7)), ("none", (4, 7))],
)
def test_a_loss_is_built_for_the_widths_that_it_will_see(direction, widths):
    class Sized(at.losses.FeatureLoss):
        equal_widths = False

        def build(self, student_width, teacher_width, teacher=None):
            self.widths, self.teacher = (student_width, teacher_width), [teacher]

        def forward(self, student, teacher):
            assert (student.shape[1], teacher.shape[1]) == self.widths
            return student.mean() + teacher.mean()

    student, teacher = FEATURES["maps"]
    module = nn.Identity()
    link = at.Link("s", "t", loss=Sized(), direction=direction)
    made = Connection(link, student, teacher._replace(module=module))
    (loss,) = made.losses
    assert loss.widths == widths
    assert loss is not link.loss
    # A projected feature is no longer the teacher's module's.
    assert loss.teacher == [None if direction == "inverted" else module]
    made(student, teacher)


def test_a_vector_and_a_map_have_no_positions_in_common():
    with pytest.raises(LayoutError, match=r"'mine': a map of shape .* and a vector .*pooled"):
        connection(source(3, 4, 4, 6), source(3, 7))
    student, teacher = source(3, 4, 4, 6), source(3, 7)
    made = connection(student, teacher, compare="pooled")
    expected = F.mse_loss(student.feature.mean((2, 3)), made.projector(teacher.feature))
    torch.testing.assert_close(made(student, teacher), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("direction", ["inverted", "traditional", "none"])
def test_a_student_of_half_precision_leaves_the_other_side_its_own(direction):
    """Values that half precision cannot hold, on the side that is not projected or on either."""
    student, teacher = torch.randn(4, 5), 1e6 * torch.randn(4, 5)
    if direction == "inverted":
        student, teacher = 1e6 * student, 1e-6 * teacher
    mine, theirs = Source(student, SIZE), Source(teacher, SIZE)
    single = connection(mine, theirs, direction=direction, loss=at.losses.SP())
    half = copy.deepcopy(single).half()
    small = {"inverted": (student, teacher.half()), "traditional": (student.half(), teacher)}
    sides = small.get(direction, (student.half(), teacher))
    value = half(*(Source(side, SIZE) for side in sides))
    assert value.isfinite()
    torch.testing.assert_close(value, single(mine, theirs), rtol=0.02, atol=1e-3)


def test_one_vector_an_image_comes_from_a_tap_too():
    class Vectors(at.losses.FeatureLoss):
        form = "images"
        because = "it wants vectors"

        def forward(self, student, teacher):
            return (student - teacher).square().mean()

    assert connection(source(3, 5), source(3, 7), loss=Vectors())(source(3, 5), source(3, 7)) > 0


def test_the_remedy_for_unequal_widths_is_one_that_the_loss_has():
    with pytest.raises(LayoutError, match=r"AB needs .* Use direction='traditional' to project"):
        connection(source(3, 5), source(3, 7), loss=at.losses.AB(), direction="none")
