"""What losses have in common: the checks of two features, their precision, and the gathering."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses import (
    activation_boundary,
    base,
    fsp,
    hcl,
    info_nce,
    inter_channel_correlation,
    kd_svd,
    mse,
    partial_l2,
    pkt,
    smooth_l1,
)
from anyteacher.losses.base import (
    DIRECTIONS,
    BatchLoss,
    FeatureLoss,
    LevelLoss,
    LogitLoss,
    Loss,
    check_classes,
    chosen,
    comparable,
    full_precision,
    in_memory_order,
    whole,
)


@pytest.mark.parametrize(
    ("mine", "theirs", "allowed", "message"),
    [
        ((2, 3), (1, 3), {}, r"of the same images, of one shape, got \(2, 3\) from the student"),
        ((2, 3), (2, 3, 4, 5), {}, r"same images.*and \(2, 3, 4, 5\) from the teacher\.$"),
        ((2, 3), (1, 3), {"widths": False, "grids": False}, "of the same images"),
        ((4,), (4,), {}, r"same images, .* got \(4,\)"),
        ((2, 3), (2, 4), {}, r"of one shape, got .*A link with a projector matches them\.$"),
        ((2, 3, 4, 5), (2, 3, 5, 4), {}, "compares features of one shape"),
        ((2, 3, 4, 5), (2, 6, 9, 9), {"grids": False}, "compares features of one width"),
        ((2, 3, 4, 5), (2, 6, 9, 9), {"widths": False}, "compares features of one grid"),
        ((0, 3), (0, 3), {}, r"has no rows to compare: the shape is \(0, 3\)"),
        ((2, 3, 0, 5), (2, 3, 0, 5), {}, "no rows"),
        ((2, 3, 4, 5), (2, 3, 0, 5), {"grids": False}, "no rows"),
    ],
)
def test_features_that_cannot_be_compared(mine, theirs, allowed, message):
    with pytest.raises(LayoutError, match=f"^MyLoss .*{message}"):
        comparable("MyLoss", torch.zeros(mine), torch.zeros(theirs), **allowed)


@pytest.mark.parametrize(
    ("mine", "theirs", "allowed"),
    [
        ((2, 3), (2, 3), {}),
        ((2, 3, 4, 5), (2, 3, 4, 5), {}),
        ((2, 3), (2, 4), {"widths": False}),
        ((2, 3, 4, 5), (2, 3, 1, 9), {"grids": False}),
        ((2, 3), (2, 7, 4, 5), {"widths": False, "grids": False}),
    ],
)
def test_features_that_can_be_compared_come_as_they_are(mine, theirs, allowed):
    student, teacher = torch.randn(mine), torch.randn(theirs)
    first, second = comparable("MyLoss", student, teacher, **allowed)
    assert first is student
    assert second is teacher


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        (torch.float16, torch.float16, torch.float32),
        (torch.bfloat16, torch.float16, torch.float32),
        (torch.float32, torch.bfloat16, torch.float32),
        (torch.float64, torch.float16, torch.float64),
        (torch.float32, torch.float64, torch.float64),
    ],
)
def test_both_come_in_single_precision_or_better(mine, theirs, expected):
    pair = comparable("MyLoss", torch.ones(2, 3, dtype=mine), torch.ones(2, 3, dtype=theirs))
    assert [feature.dtype for feature in pair] == [expected, expected]


@full_precision
def gram(student, teacher, *, scale=1.0):
    """The products of the rows of two features."""
    first = student if isinstance(student, torch.Tensor) else student[0]
    return scale * first @ teacher.T


def test_autocast_is_off_inside_and_on_again_after():
    x, y = torch.randn(4, 64), torch.randn(4, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (x @ y.T).dtype == torch.bfloat16
        results = [gram(x, y), gram([x, x], y), gram(student=x, teacher=y), gram(x, teacher=y)]
        with pytest.raises(RuntimeError, match="shape"):
            gram(x, y.T)
        assert (x @ y.T).dtype == torch.bfloat16
    for result in results:
        assert torch.equal(result, x @ y.T)

    assert torch.equal(gram(x, y, scale=2.0), 2 * x @ y.T)
    assert (gram.__name__, gram.__doc__) == ("gram", "The products of the rows of two features.")


VECTOR, MAP = torch.randn(4, 64), torch.randn(2, 6, 5, 5)


@pytest.mark.parametrize(
    ("loss", "settings", "student"),
    [
        (pkt, {"eps": 1e-7}, VECTOR),
        (info_nce, {"temperature": 0.1}, VECTOR),
        (inter_channel_correlation, {"unit": "rows"}, MAP),
        (hcl, {"pyramid": (4, 2)}, MAP),
        (fsp, {"pool": "max"}, [MAP, MAP]),
        (kd_svd, {"vectors": 1}, (MAP, MAP)),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_settings_may_come_before_the_features(loss, settings, student):
    teacher = [x + 1 for x in student] if isinstance(student, list | tuple) else student.exp()
    expected = loss(student, teacher, **settings)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(**settings, student=student, teacher=teacher), expected)


def test_without_a_tensor_the_function_itself_says_what_is_wrong():
    with torch.autocast("cpu"), pytest.raises(LayoutError, match="two at least, got 0 and 0"):
        kd_svd([], [])


def test_the_gradient_is_of_full_precision_under_autocast_too():
    x, y = torch.randn(4, 64, requires_grad=True), torch.randn(4, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = gram(x, y).sum()
    loss.backward()
    torch.testing.assert_close(x.grad, y.sum(0).expand(4, -1))


class Spread(BatchLoss):
    """The mean squared difference between the means of both batches."""

    def compare(self, student, teacher):
        return (student.mean(0) - teacher.mean(0)).square().mean()


def test_a_loss_of_the_batch_gathers_only_when_it_is_told_to(monkeypatch):
    student, teacher = torch.randn(4, 3), torch.randn(4, 3)
    gathered = []

    def twice(x):
        gathered.append(x)
        return torch.cat([x, x + 1])

    monkeypatch.setattr(base, "gather", twice)
    expected = (student.mean(0) - teacher.mean(0)).square().mean()
    assert torch.equal(Spread()(student, teacher), expected)
    assert not gathered
    loss = Spread(gather=True)
    assert loss.gather is True
    torch.testing.assert_close(loss(student, 2 * teacher), loss.compare(student, 2 * teacher))
    assert gathered[0] is student
    assert torch.equal(gathered[1], 2 * teacher)


def test_a_loss_of_relations_sees_features_of_other_widths_and_grids():
    class Relations(BatchLoss):
        def compare(self, student, teacher):
            comparable("Relations", student, teacher, widths=False, grids=False)
            mine, theirs = (x.flatten(1) @ x.flatten(1).T for x in (student, teacher))
            return (mine - theirs).square().mean()

    student, teacher = torch.ones(2, 3, 4, 5), torch.ones(2, 7)
    assert float(Relations()(student, teacher)) == (60 - 7) ** 2


def test_in_one_process_there_is_nothing_to_gather():
    student, teacher = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3).double()
    assert torch.equal(Spread(gather=True)(student, teacher), Spread()(student, teacher))


@pytest.mark.parametrize("cls", [Loss, FeatureLoss, BatchLoss, LevelLoss, LogitLoss])
def test_a_base_is_no_loss(cls):
    with pytest.raises(TypeError, match="abstract"):
        cls()


def test_a_loss_asks_for_nothing_unless_it_says_so():
    loss = Spread()
    assert (loss.directions, loss.form, loss.needs) == (DIRECTIONS, "any", ())
    assert loss.equal_widths
    assert loss.equal_grids
    loss.build(3, 4, nn.Identity())
    assert not loss.state_dict()
    assert LogitLoss.directions == ("none",)
    assert "use a feature loss" in LogitLoss.because


def test_an_option_is_one_of_those_that_there_are():
    assert chosen("mine", "unit", "rows", ("maps", "rows")) == "rows"
    with pytest.raises(ConfigError, match=r"^mine's unit cannot be 'row'\. Did you mean rows\?$"):
        chosen("mine", "unit", "row", ("maps", "rows"))
    with pytest.raises(ConfigError, match=r"^mine's p cannot be 3\. Known: 1, 2\.$"):
        chosen("mine", "p", 3, (1, 2))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2, True), (3, True), (1, False), (-5, False), (2.0, False), (2.5, False), (math.nan, False)],
)
def test_a_whole_number_is_no_fraction(value, expected):
    assert whole(value, 2) is expected


def test_probabilities_are_of_two_classes_at_least():
    check_classes("mine", 2)
    with pytest.raises(LayoutError, match=r"^mine compares .* two classes, got logits of 1\. For"):
        check_classes("mine", 1)


ELEMENTWISE = {
    "mse": mse,
    "smooth_l1": smooth_l1,
    "activation_boundary": activation_boundary,
    "partial_l2": partial(partial_l2, margin=torch.tensor([-1.0, 0.0, -0.2, -0.1])),
    "hcl": hcl,
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_of_channels_last_maps_the_gradient_has_its_channels_last_too(name):
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 4, 5, 6)  # of both sides
    values, gradients = [], []
    for memory in (torch.contiguous_format, torch.channels_last):
        student, teacher = (x.clone(memory_format=memory) for x in maps)
        value = ELEMENTWISE[name](student.requires_grad_(), teacher)
        values.append(value)
        # Of an inner tensor: a leaf's gradient is brought into the leaf's own order.
        inner = student.detach().requires_grad_() * 1
        gradients += torch.autograd.grad(ELEMENTWISE[name](inner, teacher), inner)
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients)
    assert gradients[1].is_contiguous(memory_format=torch.channels_last) or name == "hcl"


def test_the_order_of_memory_is_found_where_all_maps_share_it():
    maps = [torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last) for _ in range(3)]
    assert [tuple(x.shape) for x in in_memory_order(*maps)] == [(2, 4, 5, 3)] * 3
    assert all(x.is_contiguous() for x in in_memory_order(*maps))
    maps[2] = maps[2].contiguous()
    assert all(a is b for a, b in zip(in_memory_order(*maps), maps, strict=True))
    vectors = torch.randn(2, 3), torch.randn(2, 3)
    assert all(a is b for a, b in zip(in_memory_order(*vectors), vectors, strict=True))
