import copy

import pytest
import runs
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

import anyteacher as at
from anyteacher.errors import LayoutError, NonFiniteError
from anyteacher.experiment import fit
from anyteacher.layout import to_rows
from anyteacher.models import ConvNet
from anyteacher.prefitting import _add
from anyteacher.projectors import ClosedForm
from anyteacher.spectral import closed_form

TEACHER = 12


def distiller(*projectors, compare="pooled"):
    """Students with dropout and batch normalisation, whose state must stay as it is."""
    torch.manual_seed(1)
    student = ConvNet(10, widths=(4, 8))
    student.stages[1] = nn.Sequential(student.stages[1], nn.BatchNorm2d(8), nn.Dropout(0.5))
    links = [
        at.Link("stages.1", "stages.1", projector=projector, compare=compare, name=f"link {i}")
        for i, projector in enumerate(projectors)
    ]
    teacher = ConvNet(5, widths=(6, TEACHER))
    return at.Distiller(student, teacher, links, example=torch.rand(2, 1, 8, 8))


def batches(count, size=8):
    generator = torch.Generator().manual_seed(2)
    return [torch.rand(size, 1, 8, 8, generator=generator) for _ in range(count)]


def test_averages_are_filled_from_as_many_batches_as_they_need():
    made = distiller(ClosedForm(decay=0.9))
    given = iter(batches(10))
    at.prefit(made, given)
    projector = made.connections[0].projector
    assert projector.is_ready
    assert float(projector.rows) == 2 * TEACHER == 24  # three batches of eight
    assert len(list(given)) == 7
    made(batches(1, size=4)[0]).total.backward()  # too few rows by itself


def test_they_are_those_of_the_features_that_the_link_compares():
    made = distiller(ClosedForm(decay=0.9, ridge=0.1), compare="positions").eval()
    images = batches(1)[0]
    (view,) = made.views(images)
    z_t, z_s = to_rows(view.compared.teacher), to_rows(view.compared.student)
    at.prefit(made, [images])
    weight, _ = made.connections[0].projector.affine()
    torch.testing.assert_close(weight, closed_form(z_t, z_s, ridge=0.1))


@pytest.mark.parametrize("training", [True, False])
def test_nothing_else_changes(training):
    made = distiller(ClosedForm(decay=0.9)).train(training)
    before = copy.deepcopy(made.state_dict())
    random = torch.get_rng_state()
    modes = [module.training for module in made.modules()]
    at.prefit(made, batches(3))
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in made.modules()] == modes
    changed = {n for n in before if runs.differences(before[n], made.state_dict()[n])}
    averages = {"rows", "squares", "teacher", "cross"}
    assert changed == {f"connections.0.projector.{name}" for name in averages}
    # The features are those of the mode.
    other = distiller(ClosedForm(decay=0.9)).train(not training)
    at.prefit(other, batches(3))
    mine, theirs = (d.connections[0].projector for d in (made, other))
    assert torch.equal(mine.teacher, theirs.teacher)
    assert not torch.equal(mine.cross, theirs.cross)


def test_where_nothing_waits_no_batch_is_taken():
    made = distiller(ClosedForm(), at.projectors.Linear())
    given = iter(batches(2))
    at.prefit(made, given)
    assert len(list(given)) == 2
    assert float(made.connections[0].projector.rows) == 0
    made = distiller(ClosedForm(decay=0.9))
    at.prefit(made, batches(3))
    at.prefit(made, iter(given := batches(2)))
    assert float(made.connections[0].projector.rows) == 24
    assert len(given) == 2


def test_one_that_is_ready_is_left_alone_beside_one_that_waits():
    made = distiller(ClosedForm(decay=0.9), ClosedForm(decay=0.8))
    first, second = (connection.projector for connection in made.connections)
    first.prefit(torch.randn(40, TEACHER), torch.randn(40, 8))
    at.prefit(made, batches(3))
    assert [float(p.rows) for p in (first, second)] == [40, 24]


def test_each_level_is_filled():
    torch.manual_seed(1)
    student, teacher = ConvNet(10, widths=(4, 8)), ConvNet(5, widths=(6, TEACHER))
    taps = ["stages.0", "stages.1"]
    link = at.Link(taps, taps, projector=ClosedForm(decay=0.9), compare="pooled")
    made = at.Distiller(student, teacher, [link], example=torch.rand(2, 1, 8, 8))
    at.prefit(made, batches(3))
    assert all(projector.is_ready for projector in made.connections[0].projectors)


def test_too_few_images_are_an_error_that_counts_them():
    made = distiller(ClosedForm(decay=0.9))
    with pytest.raises(LayoutError, match=r"Link 'link 0': all images together have 8 rows .* 24"):
        at.prefit(made, batches(1))


def test_features_of_other_positions_name_the_link():
    student, teacher = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(1, 6, 3, 1, 1)
    link = at.Link("", "", projector=ClosedForm(decay=0.9), loss=at.losses.CKA(), name="mine")
    made = at.Distiller(student, teacher, [link], example=torch.rand(2, 1, 8, 8))
    with pytest.raises(LayoutError, match=r"Link 'mine': ClosedForm pairs the rows"):
        at.prefit(made, batches(1))


def experiment(decay=0.9):
    link = at.Link(
        "stages.1", "stages.1", projector=ClosedForm(decay=decay), compare="pooled", name="fit"
    )
    made = runs.experiment(dropout=0.3)
    made.distillation.links[:] = [link]
    return made


class Stop(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == self.step:
            raise RuntimeError("stopped")


@pytest.mark.parametrize("step", [2, 7])
def test_a_run_fills_them_by_itself_and_resumes_bit_for_bit(tmp_path, step):
    options = {"checkpoint_every": 1, "trainer": runs.TRAINER, **runs.QUIET}
    fit(experiment(), tmp_path / "whole", **options)
    with pytest.raises(RuntimeError, match="stopped"):
        fit(experiment(), tmp_path / "cut", callbacks=(Stop(step),), **options)
    fit(experiment(), tmp_path / "cut", resume=True, **options)
    whole, cut = (runs.read(tmp_path / name) for name in ("whole", "cut"))
    assert float(whole["state_dict"]["distiller.connections.0.projector.rows"]) > 16
    for key in ("state_dict", "optimizer_states"):
        assert runs.differences(whole[key], cut[key], key) == []


def test_what_is_not_finite_is_refused_and_never_kept():
    made = distiller(ClosedForm(decay=0.9))
    bad = torch.full_like(batches(1)[0], float("nan"))
    with pytest.raises(NonFiniteError, match="Link 'link 0': a feature of these images"):
        at.prefit(made, [bad])
    at.prefit(made, batches(4))
    with pytest.raises(NonFiniteError, match="At step 0"):
        made(bad)
    assert made(batches(1)[0]).total.isfinite()


def test_features_whose_sum_half_precision_cannot_hold_are_taken():
    made = distiller(ClosedForm(decay=0.9))
    (view,) = made.views(torch.cat(batches(4)))[:1]
    projector, (student, teacher) = view.projector, view.compared
    large = [torch.full_like(side, 300, dtype=torch.float16) for side in (teacher, student)]
    assert not large[0].sum().isfinite() or not large[1].sum().isfinite()
    _add(projector, *large, "mine")
    assert projector.rows > 0
