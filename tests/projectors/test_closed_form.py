import copy

import pytest
import torch
import torch.nn.functional as F

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.projectors import ClosedForm
from anyteacher.spectral import closed_form


def built(teacher=6, student=4, **settings):
    projector = ClosedForm(**settings)
    projector.build(teacher, student)
    return projector.double()


def pair(rows=50, teacher=6, student=4, mean=0.5):
    z_t = torch.randn(rows, teacher, dtype=torch.float64) - mean
    return z_t, torch.randn(rows, student, dtype=torch.float64) + mean


def best(z_t, z_s, bias=False):
    """Weight and bias by torch's own least squares."""
    if bias:
        z_t = torch.cat([z_t, torch.ones_like(z_t[:, :1])], 1)
    solution = torch.linalg.lstsq(z_t, z_s).solution.T
    return (solution[:, :-1], solution[:, -1]) if bias else (solution, None)


def residual(z_t, z_s, **settings):
    return z_s - built(z_t.shape[1], z_s.shape[1], **settings)(z_t, z_s)


class TestOnPaper:
    def test_one_channel(self):
        """The teacher is (1), (2), (-1), the student twice that: 2 * 6 / (6 + 3 ridge)."""
        z_t = torch.tensor([[1.0], [2.0], [-1.0]], dtype=torch.float64)
        projector = built(1, 1, ridge=2.0)
        torch.testing.assert_close(projector(z_t, 2 * z_t), z_t)
        assert float(projector.affine()[0]) == pytest.approx(1.0)

    @pytest.mark.parametrize("bias", [False, True])
    def test_a_known_matrix_is_found(self, bias):
        z_t, _ = pair()
        known, offset = torch.randn(4, 6, dtype=torch.float64), bias * torch.arange(4.0).double()
        projector = built(ridge=1e-14, bias=bias)
        projected = projector(z_t, z_t @ known.T + offset)
        weight, found = projector.affine()
        torch.testing.assert_close(weight, known, atol=1e-10, rtol=0)
        torch.testing.assert_close(projected, z_t @ known.T + offset, atol=1e-10, rtol=0)
        if bias:
            torch.testing.assert_close(found, offset, atol=1e-10, rtol=0)
        else:
            assert found is None

    def test_orthonormal_channels_leave_a_plain_product(self):
        z_t, z_s = pair()
        z_t = torch.linalg.qr(z_t).Q * 50**0.5  # Z_t^T Z_t / n = I
        projector = built(ridge=1e-14)
        projector(z_t, z_s)
        torch.testing.assert_close(projector.affine()[0], z_s.T @ z_t / 50, atol=1e-12, rtol=0)

    def test_a_deficient_teacher_is_fitted_with_what_it_has(self):
        z_t, z_s = pair()
        z_t[:, 3:] = z_t[:, :3] * 2
        left = residual(z_t, z_s, ridge=1e-10)
        expected = z_s - z_t[:, :3] @ best(z_t[:, :3], z_s)[0].T
        torch.testing.assert_close(left, expected, atol=1e-8, rtol=0)
        assert torch.equal(residual(torch.zeros_like(z_t), z_s), z_s)

    def test_what_is_left_is_orthogonal_to_the_teacher(self):
        z_t, z_s = pair()
        assert (z_t.T @ residual(z_t, z_s, ridge=1e-14)).abs().max() < 1e-10
        assert (z_t.T @ residual(z_t, z_s, ridge=1.0)).abs().max() > 1
        left = residual(z_t, z_s, ridge=1e-14, bias=True)
        assert left.mean(0).abs().max() < 1e-12

    @pytest.mark.parametrize("bias", [False, True])
    def test_it_is_least_squares(self, bias):
        z_t, z_s = pair(mean=10.0)
        projector = built(ridge=1e-13, bias=bias)
        projector(z_t, z_s)
        for mine, expected in zip(projector.affine(), best(z_t, z_s, bias), strict=True):
            torch.testing.assert_close(mine, expected, atol=1e-9, rtol=0)

    def test_it_is_the_function(self):
        z_t, z_s = pair()
        weight = closed_form(z_t, z_s, ridge=0.3)
        torch.testing.assert_close(built(ridge=0.3)(z_t, z_s), z_t @ weight.T)

    def test_twice_as_many_rows_explain_half_of_what_is_unrelated(self):
        """What the docstring says of too few rows."""
        z_t, z_s = pair(rows=128, teacher=64, student=200, mean=0.0)
        left = residual(z_t, z_s, ridge=1e-12).square().mean() / z_s.square().mean()
        assert float(left) == pytest.approx(0.5, abs=0.02)


class TestGradient:
    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("grid", [(), (3, 4)])
    def test_that_of_finite_differences(self, bias, grid):
        projector = built(3, 2, ridge=0.2, bias=bias)
        x = torch.randn(8, 3, *grid, dtype=torch.float64)
        target = torch.randn(8, 2, *grid, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda z: projector(x, z), target)

    @pytest.mark.parametrize("bias", [False, True])
    def test_for_the_squared_error_the_fit_counts_as_a_constant(self, bias):
        """Envelope theorem: at the best P the loss has no slope along P."""
        z_t, z_s = pair()
        gradients = []
        for detached in (False, True):
            z = z_s.clone().requires_grad_()
            fit = built(ridge=1e-14, bias=bias)(z_t, z)
            F.mse_loss(z, fit.detach() if detached else fit).backward()
            gradients.append(z.grad)
        torch.testing.assert_close(*gradients, atol=1e-12, rtol=0)
        # With a ridge P is not the best, and the gradient through it counts.
        z = z_s.clone().requires_grad_()
        F.mse_loss(z, built(ridge=1.0, bias=bias)(z_t, z)).backward()
        assert (
            z.grad - 2 / z.numel() * residual(z_t, z_s, ridge=1.0, bias=bias)
        ).abs().max() > 1e-4

    def test_with_averages_the_fit_is_a_constant(self):
        z_t, z_s = pair()
        z_s.requires_grad_()
        assert not built(decay=0.5)(z_t, z_s).requires_grad
        assert not built()(z_t, z_s.detach()).requires_grad


class TestAverages:
    @pytest.mark.parametrize("bias", [False, True])
    def test_they_are_those_of_weighted_rows(self, bias):
        projector = built(decay=0.7, ridge=1e-12, bias=bias)
        batches = [pair(rows) for rows in (20, 13, 40)]
        for z_t, z_s in batches:
            projected = projector(z_t, z_s)
        weights = torch.cat(
            [torch.full((len(z_t),), 0.7 ** (2 - i)) for i, (z_t, _) in enumerate(batches)]
        )
        z_t, z_s = (torch.cat(side) for side in zip(*batches, strict=True))
        scale = weights.double().sqrt()[:, None]
        design = torch.cat([z_t, torch.ones_like(z_t[:, :1])], 1) if bias else z_t
        solution = torch.linalg.lstsq(scale * design, scale * z_s).solution
        torch.testing.assert_close(projected, (design @ solution)[-40:], atol=1e-7, rtol=0)

    def test_constant_batches_count_as_so_many(self):
        """rows (1 + decay) / (1 - decay) in the long run."""
        projector = built(decay=0.9)
        for _ in range(200):
            projector(*pair(20))
        seen = float(projector.rows**2 / projector.squares)
        assert seen == pytest.approx(20 * 1.9 / 0.1, rel=1e-6)

    def test_only_steps_of_training_change_them(self):
        projector = built(decay=0.5)
        projector(*pair())
        state, weight = copy.deepcopy(projector.state_dict()), projector.affine()[0]
        x, target = pair()
        with torch.no_grad():
            assert torch.equal(projector(x, target), projector(x))
        assert torch.equal(projector.eval()(x, target), F.linear(x, weight))
        assert projector.state_dict().keys() == state.keys()
        assert all(
            torch.equal(value, state[name]) for name, value in projector.state_dict().items()
        )
        assert not torch.equal(projector.train()(x, target), F.linear(x, weight))

    def test_they_are_replaced_and_never_changed(self):
        """Else a graph that was compiled before its backward pass would find other numbers."""
        projector = built(decay=0.5)
        before = {name: (buffer, buffer.clone()) for name, buffer in projector.named_buffers()}
        projector(*pair())
        for name, (buffer, content) in before.items():
            assert getattr(projector, name) is not buffer or name.endswith("mean")
            assert torch.equal(buffer, content)

    @pytest.mark.parametrize("settings", [{}, {"bias": True}, {"decay": 0.8, "bias": True}])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_a_run_goes_on_bit_for_bit(self, settings, dtype):
        batches = [tuple(z.to(dtype) for z in pair(20)) for _ in range(6)]
        whole, first = (built(**settings).to(dtype) for _ in "ab")
        expected = [whole(*batch) for batch in batches]
        for batch in batches[:3]:
            first(*batch)
        second = built(**settings).to(dtype)
        second.load_state_dict(first.state_dict())
        assert torch.equal(second.affine()[0], first.affine()[0])
        for batch, value in zip(batches[3:], expected[3:], strict=True):
            assert torch.equal(second(*batch), value)

    def test_a_step_that_is_refused_is_not_kept(self):
        projector = built(decay=0.9)
        with pytest.raises(LayoutError):
            projector(*pair(5))
        assert float(projector.rows) == 0

    def test_a_batch_that_is_not_finite_is_not_kept(self):
        projector = built(decay=0.5)
        projector(*pair())
        state = copy.deepcopy(projector.state_dict())
        z_t, z_s = pair()
        z_s[0, 0] = torch.nan
        assert projector(z_t, z_s).isnan().any()
        kept = projector.state_dict()
        assert all(torch.equal(value, kept[name]) for name, value in state.items())
        assert projector(*pair()).isfinite().all()

    def test_they_are_one_state_for_all_processes(self):
        with pytest.raises(ConfigError, match=r"decay=0\.5 averages .* reduce=False goes with"):
            ClosedForm(decay=0.5, reduce=False)


class TestRows:
    """How few are too few."""

    @pytest.mark.parametrize("decay", [0.0, 0.9])
    def test_twice_as_many_as_the_teacher_has_channels(self, decay):
        built(decay=decay)(*pair(12))
        x, target = torch.randn(2, 6, 3, 2).double(), torch.randn(2, 4, 3, 2).double()
        built(decay=decay)(x, target)  # positions count
        with pytest.raises(
            LayoutError, match=r"at least 12 rows .* 6 channels, and has seen 11\. "
        ):
            built(decay=decay)(*pair(11))

    def test_the_error_says_what_to_do(self):
        with pytest.raises(
            LayoutError,
            match=r"Use compare='positions' or a larger batch, or aver"
            r"age over batches: ClosedForm\(decay=0.99\) and, before training, anyt"
            r"eacher.prefit\(distiller, batches\)\.",
        ):
            built()(*pair(11))
        with pytest.raises(
            LayoutError,
            match=r"batch, or fill its averages before training: anyte"
            r"acher.prefit\(distiller, batches\)\.$",
        ):
            built(decay=0.9)(*pair(11))
        # (12 - 4) / (12 + 4)
        with pytest.raises(
            LayoutError, match=r"batch, or for batches of 4 rows a decay of at least 0.5\.$"
        ):
            built(decay=0.4)(*pair(4))

    def test_batches_that_will_never_do_are_found_out(self):
        least = built(decay=0.5)
        little = built(decay=0.45)
        for projector in (least, little):
            projector.prefit(*pair(40))
        for _ in range(60):
            least(*pair(4))
        steps = (little(*pair(4)) for _ in range(60))
        with pytest.raises(LayoutError, match=r"has seen 1[01]\..*decay of at least 0.5"):
            list(steps)

    def test_nothing_seen_gives_nothing(self):
        for projector in (built(), built(decay=0.9)):
            for ask in (projector.affine, lambda p=projector: p(pair()[0])):
                with pytest.raises(LayoutError, match="has seen 0"):
                    ask()
        with pytest.raises(LayoutError, match="has seen 0"):
            built(decay=0.9).eval()(*pair())
        assert built().is_ready
        assert not built(decay=0.9).is_ready

    def test_prefit_weighs_all_batches_alike(self):
        projector = built(decay=0.5, ridge=1e-13, bias=True)
        z_t, z_s = pair(30)
        for part in (slice(0, 4), slice(4, 9)):
            projector.prefit(z_t[part], z_s[part])
            assert not projector.is_ready
        projector.prefit(z_t[9:], z_s[9:])
        assert projector.is_ready
        for mine, expected in zip(projector.affine(), best(z_t, z_s, bias=True), strict=True):
            torch.testing.assert_close(mine, expected, atol=1e-9, rtol=0)


class TestPrecision:
    @pytest.mark.parametrize("decay", [0.0, 0.9])
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_fitted_in_single(self, decay, dtype):
        z_t, z_s = (1000 * z.to(dtype) for z in pair(300))
        projector = built(decay=decay, ridge=0.1).float().to(dtype)
        expected = z_t.double() @ closed_form(z_t.double(), z_s.double(), ridge=0.1).T
        with torch.autocast("cpu", dtype=dtype):
            under_autocast = projector(z_t, z_s)
        for value in (projector(z_t, z_s), under_autocast, projector(z_t)):
            assert value.dtype == torch.float32
            torch.testing.assert_close(value.double(), expected, atol=0.05, rtol=1e-3)
        for buffer in (*projector.buffers(), *copy.deepcopy(projector).half().buffers()):
            assert buffer.dtype == torch.float32

    def test_averages_survive_a_move_to_half_precision_and_back(self):
        projector = built(decay=0.5)
        projector(*pair())
        weight = projector.affine()[0]
        assert torch.equal(projector.half().affine()[0], weight)
        assert projector.double().affine()[0].dtype == torch.float64

    def test_a_large_mean_costs_no_precision_with_a_bias(self):
        z_t, z_s = pair(200, mean=1e3)
        expected = residual(z_t, z_s, ridge=1e-6, bias=True)
        single = residual32(z_t, z_s)
        torch.testing.assert_close(single.double(), expected, atol=2e-3, rtol=0)


def residual32(z_t, z_s):
    projector = built(ridge=1e-6, bias=True).float()
    return z_s.float() - projector(z_t.float(), z_s.float())


def test_it_has_nothing_to_learn():
    assert list(built().parameters()) == []
    assert built(bias=True, decay=0.9).is_linear


def test_settings_out_of_range():
    for decay in (-0.1, 1.0, float("nan")):
        with pytest.raises(ConfigError, match=r"decay is from 0, the batch alone, to below 1, got"):
            ClosedForm(decay=decay)
    for ridge in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match=r"positive ridge, got .* 0.001 is the default"):
            ClosedForm(ridge=ridge)


def test_features_that_do_not_fit(unchecked):
    with pytest.raises(LayoutError, match=r"built for 6 channels of the teacher and 4 of the stud"):
        built()(*pair(teacher=5))
    x, target = torch.randn(4, 6, 4, 4).double(), torch.randn(4, 4, 2, 2).double()
    for call in (built(), built(decay=0.9).prefit):
        with pytest.raises(LayoutError, match=r"other positions: the teacher's \(4, 6, 4, 4\) and"):
            call(x, target)
