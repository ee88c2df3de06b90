import warnings

import pytest
import torch
from torch import nn

import anyteacher as at
from anyteacher.errors import CollapseWarning, ConfigError, LayoutError
from anyteacher.level import Compared
from anyteacher.observation import CollapseGuard, View, moments_of, observed
from anyteacher.projectors import MLP, ClosedForm, Linear, LowRank
from anyteacher.spectral import decompose, effective_rank

NUMBERS = ("energy", "centred_rank", "energy_left", "rank_left")


def made(projector, before=5, after=4):
    projector.build(before, after)
    return projector.double()


def maps(width, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, width, 2, 5, dtype=torch.float64, generator=generator)
    return scale * (x + 0.3)


def rows(x):
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def view(projector=None, direction="inverted", student=None, teacher=None):
    return View(
        "mine", direction, projector, Compared(maps(4) if student is None else student, teacher)
    )


def see(what, guard=None, step=0):
    return observed(what, guard or CollapseGuard(), step)


def test_energy_and_rank_are_those_of_the_rows():
    x = maps(4)
    found = see(view(student=x))
    torch.testing.assert_close(found.energy, x.square().mean())
    torch.testing.assert_close(found.centred_rank, effective_rank(rows(x), centre=True))
    assert (float(found.energy_left), float(found.rank_left)) == (1.0, 1.0)
    assert found.decomposition is None


@pytest.mark.parametrize("projector", [Linear(), Linear(bias=True), LowRank(2, bias=True)])
@pytest.mark.parametrize("direction", ["inverted", "traditional"])
def test_a_linear_projector_is_decomposed(projector, direction):
    student, teacher = maps(4), maps(5, seed=1)
    sizes = (5, 4) if direction == "inverted" else (4, 5)
    projector = made(projector, *sizes)
    found = see(view(projector, direction, student, teacher)).decomposition
    expected = decompose(rows(student), rows(teacher), *projector.affine(), direction=direction)
    for name, value in vars(expected).items():
        torch.testing.assert_close(getattr(found, name), value)
    compared, projected = (student, teacher) if direction == "inverted" else (teacher, student)
    loss = (compared - projector(projected)).square().mean()
    torch.testing.assert_close(found.total, loss, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("projector", "teacher"),
    [(MLP(), maps(5)), (Linear(), maps(5)[:2]), (Linear(), maps(5)[..., :3]), (None, maps(5))],
    ids=["not linear", "other images", "other grid", "no projector"],
)
def test_what_has_no_decomposition(projector, teacher):
    what = view(projector and made(projector), teacher=teacher)
    assert not what.is_decomposable
    assert see(what).decomposition is None


def test_moments_are_in_double_precision():
    compared = Compared(maps(4).float(), maps(5).float())
    assert moments_of(compared).cross.dtype == torch.float64


def test_a_collapse_is_warned_of_once_and_says_how_far():
    guard = CollapseGuard(energy=0.5, rank=0.1)
    x = maps(4)
    see(view(student=x), guard)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert float(see(view(student=0.8 * x), guard).energy_left) == pytest.approx(0.64)
    message = (
        r"Link 'mine': .*collapsed by step 7, the energy from 1\.\d+ to 0\.\d+\. .*smaller wei"
    )
    with pytest.warns(CollapseWarning, match=message):
        found = see(view(student=0.5 * x), guard, step=7)
    assert float(found.energy_left) == pytest.approx(0.25)
    assert float(found.rank_left) == pytest.approx(1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        see(view(student=0.1 * x), guard)


def test_a_single_direction_is_a_collapse_of_the_rank():
    guard = CollapseGuard(rank=0.5)
    x = maps(8)
    see(view(student=x), guard)
    flat = x.mean(1, keepdim=True).expand_as(x)
    with pytest.warns(CollapseWarning, match=r"effective rank from 0.84\d to 0.125 of the most"):
        found = see(view(student=flat * (x.norm() / flat.norm())), guard)
    assert float(found.energy_left) == pytest.approx(1.0)


def test_levels_are_watched_apart_and_remembered():
    guard = CollapseGuard()
    x = maps(4)
    see(view(student=x), guard)
    see(view(student=x)._replace(name="other"), guard)
    with pytest.warns(CollapseWarning, match="'mine'"):
        see(view(student=0 * x), guard)
    later = CollapseGuard()
    later.restore(guard.state())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert float(see(view(student=0.5 * x), later).energy_left) == pytest.approx(0.25)
    with pytest.warns(CollapseWarning, match="'other'"):
        see(view(student=0 * x)._replace(name="other"), later)


def test_nothing_is_lost_where_there_was_nothing():
    guard = CollapseGuard()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            found = see(view(student=torch.zeros(3, 4)), guard)
    assert [float(getattr(found, name)) for name in NUMBERS] == [0.0, 0.0, 1.0, 1.0]


def test_shares_of_zero_never_warn():
    guard = CollapseGuard(energy=0.0, rank=0.0)
    see(view(), guard)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        see(view(student=torch.zeros(3, 4)), guard)


@pytest.mark.parametrize("shares", [{"energy": -0.1}, {"rank": 1.5}])
def test_shares_that_are_none(shares):
    with pytest.raises(ConfigError, match=r"shares are from 0 to 1, got energy="):
        CollapseGuard(**shares)


def test_half_precision_is_measured_in_single():
    found = see(view(student=200 * torch.ones(3, 4, 8, 8, dtype=torch.float16)))
    assert float(found.energy) == pytest.approx(40_000)


class Student(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 2, 2), nn.Tanh(), nn.Conv2d(4, 6, 1), nn.Flatten())


def distiller(**settings):
    torch.manual_seed(0)
    links = [
        at.Link("0", "0"),
        at.Link("1", loss=at.regularizers.LogDet()),
        at.Link(["0", "2"], ["0", "2"], projector=Linear(bias=True), name="two"),
        at.Link("2", "2", projector=MLP(), name="mlp"),
        at.Link("2", "2", direction="none", name="none"),
    ]
    images = torch.rand(4, 3, 8, 12)
    return at.Distiller(Student(), Student(), links, example=images, **settings), images


def test_a_step_is_observed_by_level_and_changes_nothing():
    made, images = distiller()
    plain = made(images)
    state = torch.random.get_rng_state()
    seen = made(images, observe=True)
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(plain.total, seen.total)
    assert plain.observations == {}
    names = ["0<-0", "1:LogDet", "two[0]", "two[1]", "mlp", "none"]
    assert list(seen.observations) == names
    linear = {name for name, found in seen.observations.items() if found.decomposition}
    assert linear == {"0<-0", "two[0]", "two[1]"}
    torch.testing.assert_close(seen.observations["0<-0"].decomposition.total, seen.losses["0<-0"])
    both = sum(seen.observations[f"two[{level}]"].decomposition.total for level in (0, 1))
    torch.testing.assert_close(both, seen.losses["two"])


def test_the_guard_warns_in_a_loop_and_its_memory_comes_back():
    made, images = distiller(guard=at.CollapseGuard(energy=0.5))
    made(images, observe=True)
    again, _ = distiller(guard=at.CollapseGuard(energy=0.5))
    again.load_state_dict(made.state_dict())
    with torch.no_grad():
        again.student[0].weight.mul_(0)
        again.student[0].bias.mul_(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = again(images, observe=True)
    assert float(found.observations["0<-0"].energy_left) == 0
    assert {warning.category for warning in caught} == {CollapseWarning}
    assert all("collapsed by step 1" in str(warning.message) for warning in caught)
    warned = {str(warning.message).split("'")[1] for warning in caught}
    assert {"0<-0", "1:LogDet", "two[0]"} <= warned


def test_fewer_rows_are_no_collapse():
    guard, x = CollapseGuard(rank=0.9), torch.randn(64, 64)
    see(view(student=x), guard)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = see(view(student=x[:4]), guard)
    assert float(found.centred_rank) < 3.1
    assert float(found.rank_left) > 1


def test_a_row_or_two_are_no_measure():
    """The last batch of an epoch may be a single image, and so may the first that is seen."""
    x = torch.randn(64, 32) @ torch.randn(32, 32).mul(torch.logspace(0, -2, 32))
    guard = CollapseGuard(energy=0.5, rank=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rows in (1, 2, 64, 1, 40, 2):
            found = see(view(student=x[:rows]), guard)
            first = found if rows == 64 else locals().get("first")
    assert float(first.rank_left) == 1  # a new start
    assert float(found.rank_left) != 1  # said all the same
    with pytest.warns(CollapseWarning, match="energy"):
        see(view(student=x[:32] * 0.1), guard)


def test_an_energy_is_measured_by_the_very_first_of_any_number_of_rows():
    guard, x = CollapseGuard(), torch.randn(256, 8)
    see(view(student=x[:64]), guard)
    kept = guard.state()
    with pytest.warns(CollapseWarning, match="the energy from"):
        found = see(view(student=0.01 * x), guard)  # larger images have more rows
    assert float(found.energy_left) < 0.001
    assert kept["warned"] == []  # a state is no part of the guard
    assert kept["starts"]["mine"]["rows"] == 64


def test_features_that_are_not_finite_are_for_the_loss_to_report():
    guard, projector = CollapseGuard(), made(Linear())
    bad = maps(4)
    bad[0, 0] = torch.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for student in (bad, maps(4), bad):
            found = see(view(projector, student=student, teacher=maps(5)), guard)
            assert bool(found.energy.isnan()) == bool(found.rank_left.isnan()) == (student is bad)
            assert (found.decomposition is None) == (student is bad)
    with pytest.warns(CollapseWarning):
        see(view(projector, student=0 * maps(4), teacher=maps(5)), guard)


def test_a_link_is_named_where_its_features_do_not_fit():
    few = {"student": maps(4)[..., :1], "teacher": maps(5)[..., :1]}
    what = view(made(ClosedForm()), **few)
    for call in (what.projected, what.decomposed, lambda: what.decomposed(moments_of(what[3]))):
        with pytest.raises(LayoutError, match=r"^Link 'mine': ClosedForm needs at least 10 rows"):
            call()


def test_a_look_in_eval_mode_is_neither_remembered_nor_warned_of():
    made, images = distiller(guard=at.CollapseGuard(energy=1.0, rank=1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = made.eval()(images, observe=True).observations["0<-0"]
        assert float(first.energy_left) == 1
        assert made.guard.state()["starts"] == {}
        made.train()(images, observe=True)
        with torch.no_grad():
            made.student[0].weight.mul_(0.1)
            made.student[0].bias.mul_(0.1)
        again = made.eval()(images, observe=True).observations["0<-0"]
    assert float(again.energy_left) == pytest.approx(0.01, rel=1e-3)
