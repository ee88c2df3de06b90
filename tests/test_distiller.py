import copy
import gc
import os
import pickle
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import anyteacher as at
from anyteacher.errors import ConfigError, LayoutError, NonFiniteError, TapError, TeacherError
from anyteacher.normalization import IMAGENET


class Small(nn.Module):
    """A student with batch normalisation, dropout, an overwriting activation and a count."""

    def __init__(self, width=4):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Conv2d(width, 2, 1)
        self.calls = 0

    def forward(self, images, factor=1.0):
        self.calls += 1
        return factor * self.head(self.drop(self.relu(self.norm(self.stem(images)))))


def teacher(width=6, **settings):
    return at.Teacher(Small(width), **settings)


def images(batch=4):
    return torch.rand(batch, 3, 8, 12)


LINK = at.Link("norm", "relu")


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_formula_from_end_to_end():
    student, model, x = Small().double().eval(), Small(6).double(), images().double()
    links = [at.Link("norm", "norm"), at.Link("norm", "norm", direction="traditional", name="b")]
    distiller = at.Distiller(student, model, links, example=x).eval()
    z_s = student.norm(student.stem(x)).movedim(1, -1).reshape(-1, 4)
    z_t = model.norm(model.stem(x)).movedim(1, -1).reshape(-1, 6)
    first, second = (c.projector.linear.weight.T for c in distiller.connections)
    output = distiller(x)
    n = len(z_s)
    inverted = ((z_s - z_t @ first) ** 2).sum() / (n * 4)
    traditional = ((z_s @ second - z_t) ** 2).sum() / (n * 6)
    torch.testing.assert_close(output.losses["norm<-norm"], inverted, atol=1e-12, rtol=0)
    torch.testing.assert_close(output.losses["b"], traditional, atol=1e-12, rtol=0)
    torch.testing.assert_close(output.total, inverted + traditional, atol=1e-12, rtol=0)
    assert torch.equal(output.prediction, student(x))


def train(student, distiller, steps=3):
    """The state of a student, of its optimiser and of the random numbers after some steps."""
    torch.manual_seed(3)
    run = distiller or student
    run.train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2)
    for _ in range(steps):
        x = images()
        out = run(x)
        prediction, total = (out.prediction, out.total) if distiller else (out, 0.0)
        loss = (prediction - x[:, :2, ::2, ::2]).square().mean() + total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moments = [v for s in optimizer.state.values() for v in s.values()]
    return [*student.state_dict().values(), *moments, torch.get_rng_state()]


@pytest.mark.parametrize("direction", ["inverted", "traditional"])
@pytest.mark.parametrize("early", [False, True])
def test_with_weight_0_the_student_trains_as_without_a_distiller(direction, early):
    student = Small()
    alone = copy.deepcopy(student)
    link = at.Link("norm", "relu", direction=direction, weight=0.0)
    distiller = at.Distiller(student, teacher(stop_early=early), [link], example=images())
    assert same(train(student, distiller), train(alone, None))
    distilled = copy.deepcopy(alone)
    link = at.Link("norm", "relu", direction=direction)
    distiller = at.Distiller(distilled, teacher(), [link], example=images())
    assert not same(train(distilled, distiller), train(copy.deepcopy(alone), None))


def test_the_teacher_does_not_change():
    mine = teacher()
    before = copy.deepcopy(mine.state_dict())
    distiller = at.Distiller(Small(), mine, [LINK], example=images())
    distiller.train()
    optimizer = torch.optim.SGD(distiller.trainable_parameters(), lr=1.0)
    for _ in range(3):
        mine.model.train()  # someone's mistake
        distiller(images()).total.backward()
        optimizer.step()
    assert all(torch.equal(value, before[key]) for key, value in mine.state_dict().items())
    assert all(parameter.grad is None for parameter in mine.parameters())


def test_making_it_draws_no_random_number_and_teaches_nothing():
    student, mine = Small().train(), teacher()
    student.drop.eval()
    state, modes = torch.get_rng_state(), [m.training for m in student.modules()]
    before = copy.deepcopy(student.state_dict())
    x = torch.ones(2, 3, 8, 12)
    at.Distiller(student, mine, [LINK], example=x)
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in student.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())


def test_projectors_follow_the_seed_and_nothing_else():
    def weight(seed, outside):
        torch.manual_seed(outside)
        distiller = at.Distiller(
            Small(), teacher(), [LINK], example=torch.ones(2, 3, 8, 12), seed=seed
        )
        return distiller.connections[0].projector.linear.weight

    assert torch.equal(weight(1, 1), weight(1, 2))
    assert not torch.equal(weight(1, 1), weight(2, 1))
    assert torch.equal(weight(None, 1), weight(None, 1))
    assert not torch.equal(weight(None, 1), weight(None, 2))


def test_projectors_do_not_repeat_the_numbers_of_the_student():
    torch.manual_seed(7)
    student = nn.Sequential(nn.Conv2d(6, 4, 1, bias=False))
    x = torch.rand(2, 6, 8, 8)
    distiller = at.Distiller(
        student, nn.Sequential(nn.Conv2d(6, 6, 1)), [at.Link("0", "0")], example=x
    )
    weight = distiller.connections[0].projector.linear.weight
    assert not torch.allclose(weight.flatten(), student[0].weight.flatten(), atol=1e-3)


def test_many_links_and_teachers_run_each_model_once():
    student, first, second, third = Small(), Small(5), Small(6), Small(7)
    links = [
        at.Link("stem", "stem", of="first"),
        at.Link("norm", "head", of="first", compare="pooled", weight=0.5),
        at.Link("norm", "norm", of="second", direction="traditional"),
        at.Link("input:head", "relu", of="second", loss=at.losses.Cosine()),
    ]
    teachers = {"first": at.Teacher(first), "second": second, "third": third}
    distiller = at.Distiller(student, teachers, links, example=images())
    models = (student, first, second, third)
    for model in models:
        model.calls = 0
    out = distiller(images())
    assert [model.calls for model in models] == [1, 1, 1, 0]
    assert list(out.losses) == ["stem<-stem", "norm<-head", "norm<-norm", "input:head<-relu"]
    weighted = [link.weight * loss for link, loss in zip(links, out.losses.values(), strict=True)]
    torch.testing.assert_close(out.total, sum(weighted))
    out.total.backward()
    assert all(p.grad is not None for p in distiller.connections.parameters())
    assert set(distiller.teachers) == {"first", "second", "third"}


@pytest.mark.parametrize("direction", ["inverted", "traditional"])
@pytest.mark.parametrize("early", [False, True])
def test_a_link_over_several_levels_from_end_to_end(direction, early):
    student = nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 6, 2, 2)).double()
    model = nn.Sequential(nn.Conv2d(3, 5, 2, 2), nn.Conv2d(5, 3, 1), nn.ReLU()).double()
    x = images().double()
    link = at.Link(
        ["0", "1"], ["0", "1"], direction=direction, weight=3.0, level_weights=[1.0, 0.5]
    )
    mine = at.Teacher(model, stop_early=early)
    distiller = at.Distiller(student, mine, [link], example=x)
    output = distiller(x)
    first, second = student[0](x), model[0](x)
    pairs = [(first, second), (student[1](first), F.avg_pool2d(model[1](second), 2))]
    expected = 0.0
    levels = zip(pairs, distiller.connections[0].projector.levels, [1.0, 0.5], strict=True)
    for (ours, theirs), projector, weight in levels:
        P = projector.linear.weight[:, :, None, None]
        if direction == "inverted":
            expected = expected + weight * (ours - F.conv2d(theirs, P)).square().mean()
        else:
            expected = expected + weight * (F.conv2d(ours, P) - theirs).square().mean()
    torch.testing.assert_close(output.losses["0+1<-0+1"], expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(output.total, 3 * expected, atol=1e-12, rtol=0)
    output.total.backward()
    assert all(p.grad.abs().max() > 0 for p in distiller.trainable_parameters())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("direction", ["inverted", "traditional"])
@pytest.mark.parametrize("loss", [at.losses.HCL(), at.losses.FSP()], ids=["each", "all"])
def test_what_fuses_levels_learns_and_its_state_comes_back(direction, loss):
    student, mine = Small(), teacher()
    taps, settings = ["norm", "head"], {"projector": at.projectors.ABF(), "loss": loss}
    link = at.Link(taps, taps, direction=direction, **settings)
    distiller = at.Distiller(student, mine, [link], example=images())
    optimizer = torch.optim.SGD(distiller.connections.parameters(), lr=1e-2)
    x = images()
    losses = []
    student.drop.eval()
    for _ in range(5):
        total = distiller(x).total
        losses.append(float(total.detach()))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        student.drop.eval()
    assert losses[-1] < losses[0]
    other = at.Distiller(copy.deepcopy(student), mine, [link], example=x)
    other.load_state_dict(distiller.state_dict())
    assert torch.equal(other.eval()(x).total, distiller.eval()(x).total)


def test_a_teacher_stops_at_the_deepest_tap_that_is_needed():
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head, self.calls = nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU(), []
            self.head.register_forward_hook(lambda *_: self.calls.append(1))

        def forward(self, x):
            return self.head(self.body(x))

    for early, calls in ((True, 0), (False, 1)):
        model = Deep()
        mine = at.Teacher(model, stop_early=early)
        distiller = at.Distiller(Small(), mine, [at.Link("stem", "body")], example=images())
        model.calls.clear()
        distiller(images())
        assert len(model.calls) == calls
        mine(images())  # outside of the distiller it runs to its end
        assert len(model.calls) == calls + 1


def test_what_the_teachers_see_can_be_chosen():
    mine = {"a": teacher(5), "b": teacher(6)}
    links = [at.Link("stem", "relu", of=name, name=name) for name in "ab"]
    distiller = at.Distiller(Small(), mine, links, example=images()).eval()
    x, y = images(), images()
    plain = distiller(x).losses
    both = distiller(x, teacher_images=y).losses
    split = distiller(x, teacher_images={"a": x, "b": y}).losses
    first, second = "a", "b"
    assert split[first] == plain[first] != both[first]
    assert split[second] == both[second] != plain[second]
    with pytest.raises(ConfigError, match=r"no images for teacher 'b'. Known: a"):
        distiller(x, teacher_images={"a": x})
    with pytest.raises(LayoutError, match=r"batch of 4 and the teacher's of 3"):
        distiller(x, teacher_images=images(3))


def test_the_teacher_prepares_the_images_for_itself():
    model = Small(6)
    mine = at.Teacher(model, norm=IMAGENET, size=(16, 16), dtype="float64")
    x = images()
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET.mean, IMAGENET.std))
    distiller = at.Distiller(
        Small(),
        mine,
        [at.Link("norm", "norm")],
        example=x,
        images_norm=at.ImageNorm((0.5,), (0.5,)),
    ).eval()
    raw = F.interpolate(x, (16, 16), mode="bilinear", antialias=True) * 0.5 + 0.5
    z_t = model.norm(model.stem(((raw - mean) / std).double())).float()
    student = distiller.student
    z_s = student.norm(student.stem(x))
    weight = distiller.connections[0].projector.linear.weight
    resized = F.interpolate(z_t, z_s.shape[2:], mode="bilinear")
    resized = F.adaptive_avg_pool2d(z_t, z_s.shape[2:]) if _shrinks(z_t, z_s) else resized
    expected = F.mse_loss(z_s, torch.einsum("bchw,dc->bdhw", resized, weight))
    torch.testing.assert_close(distiller(x).total, expected)


def _shrinks(a, b):
    return a.shape[2] >= b.shape[2] and a.shape[3] >= b.shape[3]


def test_further_arguments_reach_the_student():
    distiller = at.Distiller(Small(), teacher(), [LINK], example=images()).eval()
    x = images()
    torch.testing.assert_close(distiller(x, 3.0).prediction, 3 * distiller(x).prediction)
    torch.testing.assert_close(distiller(x, factor=2.0).prediction, 2 * distiller(x).prediction)


def test_warm_up_counts_training_steps():
    link = at.Link("norm", "relu", weight=2.0, warmup=4)
    distiller = at.Distiller(Small(), teacher(), [link], example=images())
    x, shares = images(), []
    for _ in range(6):
        distiller.eval()
        distiller(x)  # neither this counts
        distiller.train()
        with torch.no_grad():
            distiller(x)  # nor this
        out = distiller(x)
        shares.append(float((out.total / out.losses["norm<-relu"]).detach()))
    assert shares == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0])
    assert int(distiller.step) == 6
    other = at.Distiller(Small(), copy.deepcopy(distiller.teachers["teacher"]), [link], example=x)
    other.load_state_dict(distiller.state_dict())
    assert int(other.step) == 6


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_says_where_and_when(bad):
    links = [at.Link("stem", "stem", name="good"), at.Link("norm", "norm", name="bad")]
    distiller = at.Distiller(Small(), teacher(), links, example=images())
    distiller.train()
    distiller(images())
    with torch.no_grad():
        distiller.connections[1].projector.linear.weight.fill_(bad)
    with pytest.raises(NonFiniteError, match=r"At step 1 the loss of link 'bad' is (nan|inf)"):
        distiller(images())
    distiller.check_finite = False
    assert not distiller(images()).total.isfinite()


@pytest.mark.parametrize("teachers", [None, {}])
def test_without_a_teacher_there_are_regularisers(teachers):
    student, x = Small().double().eval(), images().double()
    links = [
        at.Link("norm", loss=at.regularizers.TrailingEnergy(2), weight=0.5),
        at.Link("head", loss=at.regularizers.LogDet(), compare="pooled", name="pooled", warmup=4),
    ]
    distiller = at.Distiller(student, teachers, links, example=x)
    assert distiller.teachers == {}
    out = distiller(x)
    first = at.spectral.trailing_energy(
        student.norm(student.stem(x)).movedim(1, -1).reshape(-1, 4), 2
    )
    second = at.spectral.log_det(out.prediction.mean((2, 3)))
    torch.testing.assert_close(out.losses["norm:TrailingEnergy"], first, atol=1e-12, rtol=0)
    torch.testing.assert_close(out.losses["pooled"], second, atol=1e-12, rtol=0)
    torch.testing.assert_close(out.total, first / 2 + second / 4)
    out.total.backward()
    assert student.stem.weight.grad.norm() > 0


def test_regularisers_stand_beside_taught_links():
    links = [LINK, at.Link("norm", loss=at.regularizers.LogDet(), weight=2.0)]
    x = images()
    distiller = at.Distiller(Small(), teacher(), links, example=x).eval()
    out = distiller(x)
    assert list(out.losses) == ["norm<-relu", "norm:LogDet"]
    torch.testing.assert_close(out.total, out.losses["norm<-relu"] + 2 * out.losses["norm:LogDet"])
    again = copy.deepcopy(distiller)
    torch.testing.assert_close(again(x).total, out.total)


def test_a_followed_subspace_and_a_schedule_come_back_with_the_state():
    def made():
        torch.manual_seed(0)
        student = nn.Sequential(nn.Conv2d(3, 256, 3), nn.Tanh()).double()
        loss = at.regularizers.TrailingEnergy(8, start=24, steps=6)
        links = [at.Link("1", loss=loss)]
        return at.Distiller(student, None, links, example=torch.rand(2, 3, 8, 8).double())

    batches = [torch.rand(16, 3, 8, 8).double() for _ in range(6)]
    whole, first, second = made(), made(), made()
    expected = [float(whole(x).total.detach()) for x in batches]
    found = [float(first(x).total.detach()) for x in batches[:3]]
    second.load_state_dict(first.state_dict())
    found += [float(second(x).total.detach()) for x in batches[3:]]
    assert found == expected


@pytest.mark.parametrize("check", [True, False])
def test_a_regulariser_that_is_not_finite_says_where_and_when(check):
    student, x = Small(), images()
    links = [at.Link("stem", loss=at.regularizers.LogDet())]
    distiller = at.Distiller(student, None, links, example=x, check_finite=check)
    distiller(x)
    x[0, 0, 0, 0] = float("inf")
    if not check:
        assert not distiller(x).total.isfinite()
        return
    with pytest.raises(NonFiniteError, match="At step 1 the loss of link 'stem:LogDet' is nan"):
        distiller(x)


def test_without_links_there_is_only_the_student():
    student, model = Small(), Small(6)
    distiller = at.Distiller(student, model, [])
    model.calls = 0
    out = distiller(images())
    assert out.losses == {}
    assert out.total == 0
    assert model.calls == 0
    with pytest.raises(ConfigError, match="needs `example`"):
        at.Distiller(Small(), Small(6), [LINK])


@pytest.mark.parametrize(
    ("links", "error", "message"),
    [
        (
            [at.Link("norm", "norm", of="frist")],
            ConfigError,
            r"'frist', which is not there. Did you m",
        ),
        ([at.Link("norm", "norm")], ConfigError, r"names the teacher '', .* Set the link's `of`"),
        (
            [at.Link("norm", "norm", of="first"), at.Link("norm", "norm", of="second")],
            ConfigError,
            r"Two links are named 'norm<-norm'. Give each a `name`",
        ),
        ([at.Link("nrom", "norm", of="first")], TapError, r"no module 'nrom'. Did you mean norm"),
        ([at.Link("norm", "nrom", of="first")], TapError, r"no module 'nrom'. Did you mean norm"),
        (
            [at.Link("norm", "norm", of="first", direction="none", name="x")],
            LayoutError,
            r"Link 'x': Without a projector",
        ),
    ],
)
def test_links_that_do_not_fit_leave_no_hooks(links, error, message):
    student, teachers = Small(), {"first": Small(5), "second": Small(6)}
    with pytest.raises(error, match=message):
        at.Distiller(student, teachers, links, example=images())
    for model in (student, *teachers.values()):
        assert not any(m._forward_hooks for m in model.modules())


def test_images_have_four_axes():
    distiller = at.Distiller(Small(), teacher(), [LINK], example=images())
    message = r"Images of shape \(B, C, H, W\) are needed, got a tensor of shape \(3, 8, 12\)"
    with pytest.raises(TapError, match=message):
        distiller(images()[0])
    with pytest.raises(TapError, match=message):
        at.Distiller(Small(), teacher(), [LINK], example=images()[0])


def test_an_empty_batch():
    distiller = at.Distiller(Small(), teacher(), [LINK], example=images()).eval()
    with pytest.raises(LayoutError, match=r"Link 'norm<-relu': the batch is empty"):
        distiller(images(0))


def test_a_random_teacher_needs_statistics():
    mine = at.teachers.Random(lambda: Small(6))
    with pytest.raises(
        TeacherError, match=r"Teacher 'teacher' is random .* Call teacher.calibrate"
    ):
        at.Distiller(Small(), mine, [LINK], example=images())
    mine.calibrate([images()])
    assert at.Distiller(Small(), mine, [LINK], example=images())(images()).total > 0


def test_a_student_is_not_its_own_teacher():
    student = Small()
    with pytest.raises(TeacherError, match=r"shares parameters with the student.*deepcopy"):
        at.Distiller(student, student, [LINK], example=images())
    student = Small()
    at.Distiller(student, copy.deepcopy(student), [LINK], example=images())


def test_release_gives_the_student_back_clean():
    student, mine = Small(), teacher()
    keys = list(student.state_dict())
    distiller = at.Distiller(student, mine, [LINK], example=images())
    assert list(distiller.student.state_dict()) == keys
    assert distiller.release() is student
    for model in (student, mine.model):
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert list(student.state_dict()) == keys


def test_the_state_holds_student_and_projectors_and_only_a_hash_of_the_teacher():
    distiller = at.Distiller(Small(), teacher(), [LINK], example=images())
    state = distiller.state_dict()
    student = {f"student.{key}" for key in Small().state_dict()}
    projector = {"connections.0.projector.linear.weight"}
    assert set(state) == student | projector | {"step", "_extra_state"}
    assert list(state["_extra_state"]["teachers"]) == ["teacher"]
    trained = {id(p) for p in distiller.trainable_parameters()}
    expected = [*distiller.student.parameters(), *distiller.connections.parameters()]
    assert trained == {id(p) for p in expected}
    distiller.student.stem.requires_grad_(False)
    assert len(list(distiller.trainable_parameters())) == len(expected) - 2


def test_the_statistics_of_a_calibrated_teacher_come_back_with_the_state():
    def made(images_of_calibration):
        torch.manual_seed(0)
        mine = at.teachers.Random(lambda: Small(6), seed=4).calibrate([images_of_calibration])
        return at.Distiller(Small(), mine, [LINK], example=images()).eval()

    x = images()
    first, second = made(x), made(x + 1e-6)  # as another number of threads would round
    assert not torch.equal(first(x).total, second(x).total)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x).total, second(x).total)


def test_a_state_comes_back_beside_the_same_teacher_only(tmp_path):
    mine = teacher()
    distiller = at.Distiller(Small(), mine, [LINK], example=images())
    torch.save(distiller.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    again = at.Teacher(Small(6))
    again.model.load_state_dict(mine.model.state_dict())
    other = at.Distiller(Small(), again, [LINK], example=images())
    other.load_state_dict(state)
    x = images()
    assert torch.equal(other.eval()(x).total, distiller.eval()(x).total)
    stranger = at.Distiller(Small(), teacher(), [LINK], example=images())
    with pytest.raises(TeacherError, match=r"beside other teachers: teacher differ"):
        stranger.load_state_dict(state)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_teacher_keeps_its_precision_where_the_student_changes_its(dtype):
    mine = teacher()
    distiller = at.Distiller(Small(), mine, [LINK], example=images()).eval()
    expected = distiller(images()).total
    distiller.to(dtype)
    assert {p.dtype for p in distiller.parameters()} == {dtype}
    assert {p.dtype for p in mine.parameters()} == {torch.float32}
    out = distiller(images().to(dtype))
    assert out.prediction.dtype == dtype
    assert out.total.isfinite()
    assert out.total.ndim == expected.ndim == 0


def test_a_teacher_in_half_precision_beside_a_student_in_single():
    model = Small(6)
    exact = at.Distiller(Small(), copy.deepcopy(model), [LINK], example=images(), seed=1).eval()
    mine = at.Teacher(model, dtype=torch.bfloat16)
    half = at.Distiller(exact.student, mine, [LINK], example=images(), seed=1).eval()
    x = images()
    assert half(x).total.dtype == torch.float32
    torch.testing.assert_close(half(x).total, exact(x).total, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("direction", ["inverted", "traditional"])
def test_autocast(direction):
    link = at.Link("norm", "relu", direction=direction)
    distiller = at.Distiller(Small(), teacher(), [link], example=images()).eval()
    x = images()
    expected = distiller(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = distiller(x)
    assert out.prediction.dtype == torch.bfloat16
    assert out.total.dtype == torch.float32
    torch.testing.assert_close(out.total, expected.total, rtol=0.05, atol=0.05)
    out.total.backward()
    assert all(p.grad.isfinite().all() for p in distiller.connections.parameters())


def test_a_distiller_made_under_autocast_keeps_single_precision():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        distiller = at.Distiller(Small(), teacher(), [LINK], example=images())
    assert {p.dtype for p in distiller.parameters()} == {torch.float32}


def test_the_meta_device_is_followed():
    mine = teacher()
    distiller = at.Distiller(Small(), mine, [LINK], example=images()).to("meta")
    assert {p.device.type for p in (*distiller.parameters(), *mine.parameters())} == {"meta"}


def test_copies_share_the_teacher_and_nothing_else():
    mine = teacher()
    distiller = at.Distiller(Small(), mine, [LINK], example=images())
    other = copy.deepcopy(distiller)
    assert other.teachers["teacher"] is mine
    x = images()
    distiller.eval(), other.eval()
    assert torch.equal(other(x).total, distiller(x).total)
    with torch.no_grad():
        other.student.stem.weight.zero_()
    assert not torch.equal(other(x).total, distiller(x).total)
    other.release()
    assert torch.isfinite(distiller(x).total)
    distiller.release()
    for model in (mine.model, distiller.student, other.student):
        assert not any(m._forward_hooks for m in model.modules())


def test_a_pickle_carries_everything():
    distiller = at.Distiller(Small(), teacher(), [LINK], example=images()).eval()
    x, other = images(), pickle.loads(pickle.dumps(distiller))
    assert torch.equal(other(x).total, distiller(x).total)


def test_nothing_is_kept_after_a_step():
    distiller = at.Distiller(Small(), teacher(), [LINK], example=images())
    kept = []
    for model in (distiller.student, distiller.teachers["teacher"].model):
        model.norm.register_forward_hook(lambda m, a, out: kept.append(weakref.ref(out)))
    out = distiller(images())
    kept += [weakref.ref(out.prediction), weakref.ref(out.total)]
    out.total.backward()
    del out
    gc.collect()
    assert [ref() for ref in kept] == [None] * 4


def test_its_output_is_a_tree_that_torch_can_walk():
    distiller = at.Distiller(Small(), teacher(), [LINK], example=images())
    out = distiller(images())
    doubled = torch.utils._pytree.tree_map(lambda t: 2 * t, out)
    assert isinstance(doubled, at.Output)
    assert torch.equal(doubled.prediction, 2 * out.prediction)
    assert torch.equal(doubled.losses["norm<-relu"], 2 * out.losses["norm<-relu"])


def test_channels_last_memory_gives_the_same():
    distiller = at.Distiller(Small(), teacher(), [LINK], example=images()).eval()
    x = images()
    expected = distiller(x).total
    distiller.to(memory_format=torch.channels_last)
    out = distiller(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(out.total, expected)


PROGRAMS = Path(__file__).parent / "programs"
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_a_whole_compiled_step_gives_the_same():
    command = [sys.executable, PROGRAMS / "compiled.py"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=ALONE, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the same\n"


@pytest.mark.skipif(sys.platform == "win32", reason="gloo's files need a POSIX system")
def test_two_processes_give_the_same_as_one(tmp_path):
    ranks = [
        subprocess.Popen(
            [sys.executable, PROGRAMS / "parallel.py", str(rank), tmp_path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ALONE,
        )
        for rank in range(2)
    ]
    try:
        outputs = [rank.communicate(timeout=240) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], outputs
    assert outputs[0][0].splitlines() == ["ddp is the same", "fsdp is the same"]
