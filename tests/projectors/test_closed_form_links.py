"""Links with a projector in closed form: losses, decompositions, levels, errors, processes."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import anyteacher as at
from anyteacher.errors import ConfigError, LayoutError
from anyteacher.layout import to_rows
from anyteacher.projectors import ClosedForm
from anyteacher.spectral import closed_form, decompose

PROGRAMS = Path(__file__).parents[1] / "programs"


class Tapped(nn.Module):
    """As a residual network: two stages with a shortcut, batch norm, and a head."""

    def __init__(self, width, classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.stage = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width))
        self.down = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, images):
        x = self.stem(images)
        x = self.down((x + self.stage(x)).relu())
        return self.head(x.mean((2, 3)))


def distiller(*taps, **settings):
    projector = ClosedForm(**settings.pop("projector", {}))
    taps = taps or ("down", "down")
    link = at.Link(*taps, projector=projector, name="fit", **settings)
    torch.manual_seed(1)
    made = at.Distiller(Tapped(4, 3), Tapped(6, 5), [link], example=torch.rand(2, 3, 16, 16))
    return made.double()


def images(count=8, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 16, 16, dtype=torch.float64, generator=generator)


class TestLink:
    @pytest.mark.parametrize("compare", ["positions", "pooled"])
    @pytest.mark.parametrize("bias", [False, True])
    def test_its_loss_is_what_the_teacher_cannot_explain(self, compare, bias):
        made = distiller(compare=compare, projector={"ridge": 1e-12, "bias": bias})
        given = images(40)
        (view,) = made.views(given)
        loss = made(given).losses["fit"]
        z_t, z_s = to_rows(view.compared.teacher), to_rows(view.compared.student)
        if bias:
            z_t = torch.cat([z_t, torch.ones_like(z_t[:, :1])], 1)
        left, values, _ = torch.linalg.svd(z_t, full_matrices=False)
        inside = left[:, values > 1e-6 * values[0]]
        expected = (z_s - inside @ (inside.T @ z_s)).square().mean()
        torch.testing.assert_close(loss.detach(), expected, atol=1e-9, rtol=0)

    @pytest.mark.parametrize("projector", [{}, {"bias": True}, {"decay": 0.5, "bias": True}])
    def test_the_terms_of_its_decomposition_add_up_to_the_loss(self, projector):
        made = distiller(projector=projector)
        for seed in range(2):
            output = made(images(seed=seed), observe=True)
            loss = float(output.losses["fit"].detach())
            terms = output.observations["fit"].decomposition
            assert float(terms.transfer + terms.regularisation) == pytest.approx(loss, rel=1e-12)
            assert float(terms.regularisation) >= 0
            (view,) = made.views(images(seed=seed))
            rows = to_rows(view.compared.student), to_rows(view.compared.teacher)
            again = decompose(*rows, *made.connections[0].projector.affine())
            assert float(again.total) == pytest.approx(loss, rel=1e-12)
        made.eval()
        loss = made(images(seed=5), observe=True)
        terms = loss.observations["fit"].decomposition
        assert float(terms.total) == pytest.approx(float(loss.losses["fit"].detach()), rel=1e-12)

    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("decay", [0.0, 0.9])
    def test_a_loader_decomposes_with_the_averages_or_a_fit_to_all_of_it(self, decay, bias):
        made = distiller(projector={"bias": bias, "decay": decay})
        few = images(2)[..., :2, :2]
        with pytest.raises(LayoutError, match=r"Link 'fit': .* has seen"):
            at.decompose(made, [few])
        made(images())
        state = copy.deepcopy(made.connections.state_dict())
        given = [images(seed=seed) for seed in (5, 6)]
        found = at.decompose(made, given)["fit"]
        after = made.connections.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in state.items())
        with torch.no_grad():
            made.eval()
            rows = [view.compared for images in given for view in made.views(images)]
        z_s, z_t = (torch.cat([to_rows(level[side]) for level in rows]) for side in (0, 1))
        if decay:
            weight, offset = made.connections[0].projector.affine()
            projected = F.linear(z_t, weight, offset)
        else:
            projector = ClosedForm(bias=bias)
            projector.build(z_t.shape[1], z_s.shape[1])
            projected = projector.double()(z_t, z_s)
        expected = float(F.mse_loss(z_s, projected))
        assert float(found.total) == pytest.approx(expected, rel=1e-9)
        assert float(found.transfer + found.regularisation) == pytest.approx(expected, rel=1e-9)

    def test_looking_in_eval_mode_sees_the_fit_of_that_batch(self):
        made = distiller()
        made(images())
        made.eval()
        out = made(images(seed=9), observe=True)
        (seen,) = out.observations.values()
        loss = float(out.losses["fit"].detach())
        assert float(seen.decomposition.total) == pytest.approx(loss, rel=1e-9)

    def test_each_level_has_its_own(self):
        made = distiller(["stem", "down"], ["stem", "down"])
        given = images(40)
        loss = made(given).losses["fit"]
        expected = 0.0
        for view in made.views(given):
            z_t, z_s = to_rows(view.compared.teacher), to_rows(view.compared.student)
            expected += F.mse_loss(z_s, z_t @ closed_form(z_t, z_s).T)
        torch.testing.assert_close(loss.detach(), expected)

    def test_only_the_student_learns_and_it_learns(self):
        made = distiller(projector={"decay": 0.9})
        assert {id(p) for p in made.trainable_parameters()} == {
            id(p) for p in made.student.parameters()
        }
        optimizer = torch.optim.SGD(made.trainable_parameters(), lr=0.05)
        losses = []
        for _ in range(15):
            loss = made(images(20)).losses["fit"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.6 * losses[0]

    def test_too_few_rows_name_the_link(self):
        with pytest.raises(LayoutError, match=r"Link 'fit': ClosedForm needs at least 24 rows"):
            distiller(compare="pooled")(images(8))

    def test_the_other_direction_is_refused(self):
        with pytest.raises(
            ConfigError,
            match=r"Link 'fit': ClosedForm cannot be used with direction='traditional', only with "
            r"'inverted' or 'none': a fit to the teacher would undo",
        ):
            distiller(direction="traditional")
        link = at.Link("a", "b", projector=ClosedForm())
        assert link.directions == ("inverted", "none")

    def test_unequal_grids_are_refused(self):
        with pytest.raises(
            LayoutError, match=r"Link 'fit': ClosedForm pairs the rows of both side"
        ):
            distiller("stem", "down", loss=at.losses.CKA())(images())

    def test_in_a_student_of_half_precision(self):
        made = distiller()
        expected = made(images(40)).losses["fit"]
        half = copy.deepcopy(made)
        half.student.bfloat16()
        half.connections.bfloat16()
        loss = half(images(40).bfloat16()).losses["fit"]
        torch.testing.assert_close(loss.detach().double(), expected.detach(), rtol=0.05, atol=0)


def test_several_processes_are_as_one_with_the_whole_batch(tmp_path, program):
    printed = program("closed_form_parallel.py", tmp_path)
    assert printed.split() == ["9-14", "20-1", "2-9-25", "27-0-3"]


def test_compiled_steps_are_as_plain_ones(program):
    assert program("closed_form_compiled.py").split() == ["batch", "averages", "few"]
