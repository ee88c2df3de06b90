import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses import cka
from anyteacher.spectral import Moments, closed_form, closed_form_moments


def pair(rows=30, student=4, teacher=6, mean=0.5):
    z_s = torch.randn(rows, student, dtype=torch.float64) + mean
    return z_s, torch.randn(rows, teacher, dtype=torch.float64) - mean


def test_raw_moments_are_the_products():
    z_s, z_t = pair()
    moments = Moments.of(z_s, z_t)
    student, cross, teacher = moments.raw()
    torch.testing.assert_close(student, z_s.T @ z_s)
    torch.testing.assert_close(cross, z_t.T @ z_s)
    torch.testing.assert_close(teacher, z_t.T @ z_t)
    torch.testing.assert_close(moments.student / 29, z_s.T.cov())
    assert moments.rows == 30
    assert moments.reduced() is moments  # alone


@given(
    cuts=st.lists(st.integers(1, 29), min_size=1, max_size=4, unique=True),
    mean=st.sampled_from([0.0, 1e4]),
)
def test_parts_add_up_in_any_cut(cuts, mean):
    torch.manual_seed(1)
    z_s, z_t = pair(mean=mean)
    edges = [0, *sorted(cuts), 30]
    parts = [Moments.of(z_s[a:b], z_t[a:b]) for a, b in pairwise(edges)]
    added = sum(parts[1:], parts[0])
    whole = Moments.of(z_s, z_t)
    assert added.rows == whole.rows
    for name in ("student_mean", "teacher_mean", "student", "cross", "teacher"):
        torch.testing.assert_close(
            getattr(added, name), getattr(whole, name), atol=1e-9, rtol=1e-12
        )


def test_cka_is_that_of_the_loss():
    z_s, z_t = pair()
    torch.testing.assert_close(Moments.of(z_s, z_t).cka(), 1 - cka(z_s, z_t))
    assert float(Moments.of(z_s, z_s * 3 + 1).cka()) == pytest.approx(1)
    assert float(Moments.of(z_s, torch.zeros_like(z_t)).cka()) == 0


def test_half_precision_becomes_single():
    z_s, z_t = pair()
    moments = Moments.of(z_s.half(), z_t.bfloat16())
    assert moments.student.dtype == moments.cross.dtype == torch.float32
    assert closed_form(z_t.bfloat16(), z_s.half()).dtype == torch.float32
    assert Moments.of(z_s.half(), z_t).student.dtype == torch.float64


def test_sides_of_unequal_length_or_none_are_refused():
    z_s, z_t = pair()
    for call in (Moments.of, lambda s, t: closed_form(t, s)):
        with pytest.raises(LayoutError, match=r"got features of shape \(0, 4\)"):
            call(z_s[:0], z_t[:0])


def test_sides_of_unequal_length_are_refused(unchecked):
    z_s, z_t = pair()
    with pytest.raises(LayoutError, match=r"\(29, 4\) from the student and \(30, 6\)"):
        Moments.of(z_s[1:], z_t)


def test_the_closed_form_is_the_best_there_is():
    z_s, z_t = pair(rows=200)
    weight = closed_form(z_t, z_s, ridge=1e-12)
    expected = torch.linalg.lstsq(z_t, z_s).solution.T
    torch.testing.assert_close(weight, expected, atol=1e-9, rtol=0)
    found = closed_form(z_t, z_s, ridge=0.3)
    products = z_t.T @ z_t / 200 + 0.3 * torch.eye(6)
    torch.testing.assert_close(found, torch.linalg.solve(products, z_t.T @ z_s / 200).T)
    _, cross, teacher = (part / 200 for part in Moments.of(z_s, z_t).raw())
    torch.testing.assert_close(closed_form_moments(teacher, cross, ridge=0.3), found)


def test_a_case_on_paper():
    """The teacher is (1), (2), (-1), the student twice that: 2 * 6 / (6 + 3 ridge)."""
    z_t = torch.tensor([[1.0], [2.0], [-1.0]])
    found = closed_form(z_t, 2 * z_t, ridge=2.0)
    assert float(found) == pytest.approx(1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_deficient_teachers_are_no_trouble(dtype):
    z_s, z_t = (z.to(dtype) for z in pair())
    for theirs in (torch.zeros_like(z_t), torch.ones_like(z_t), 1e8 * z_t[:, :1].expand(-1, 6)):
        for ridge in (1e-3, 1e-30):
            assert closed_form(theirs, z_s, ridge=ridge).isfinite().all()
    assert closed_form(z_t[:2], z_s[:2]).isfinite().all()  # fewer rows than channels
    z_t[0, 0] = math.nan
    assert closed_form(z_t, z_s).isnan().any()


def test_the_gradient_reaches_the_student_through_it():
    z_s, z_t = pair(rows=8, student=2, teacher=3)
    z_s.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: closed_form(z_t, z, ridge=0.1), z_s)


def test_a_ridge_must_be_positive():
    z_s, z_t = pair()
    with pytest.raises(ConfigError, match=r"positive ridge, got 0\.0"):
        closed_form(z_t, z_s, ridge=0.0)


@pytest.mark.parametrize("bias", [None, torch.randn(3, dtype=torch.float64)])
def test_those_of_the_projected_teacher_need_no_second_pass(bias):
    z_s, z_t = (torch.randn(20, width, dtype=torch.float64) + 1 for width in (4, 5))
    weight = torch.randn(3, 5, dtype=torch.float64)
    found = Moments.of(z_s, z_t).projected(weight, bias)
    expected = Moments.of(torch.nn.functional.linear(z_t, weight, bias), z_t)
    for name, value in vars(expected).items():
        torch.testing.assert_close(getattr(found, name), value)
