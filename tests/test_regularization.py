import pytest
import torch
import torch.nn.functional as F

import anyteacher as at
from anyteacher.errors import LayoutError
from anyteacher.layout import Layout
from anyteacher.level import Source
from anyteacher.regularization import Regularization
from anyteacher.regularizers import EffectiveRank, LogDet, TrailingEnergy
from anyteacher.spectral import log_det, trailing_energy

SIZE = (16, 24)


def source(*shape, size=SIZE):
    return Source(torch.randn(*shape, dtype=torch.float64), size)


def made(*sources, loss=None, **settings):
    link = at.Link(["s"] * len(sources), loss=loss or TrailingEnergy(2), **settings)
    return Regularization(link.filled(name="mine"), sources)


@pytest.mark.parametrize(
    ("shape", "form"),
    [
        ((3, 5, 4, 6), lambda x: x.movedim(1, -1).reshape(-1, 5)),
        ((3, 4, 6, 5), lambda x: x.reshape(-1, 5)),
        ((3, 25, 5), lambda x: x[:, 1:].reshape(-1, 5)),
        ((3, 23, 5), lambda x: x.reshape(-1, 5)),  # tokens that fill no grid
        ((9, 5), lambda x: x),
    ],
    ids=["map", "channels last", "tokens", "column", "vector"],
)
def test_every_layout_becomes_rows(shape, form):
    x = source(*shape)
    layout = Layout("tokens") if shape == (3, 23, 5) else None
    found = made(x, student_layout=layout)([x])
    torch.testing.assert_close(found, trailing_energy(form(x.feature), 2), atol=1e-12, rtol=0)


def test_pooled_features_have_a_row_an_image():
    x = source(9, 5, 4, 6)
    found = made(x, compare="pooled")([x])
    torch.testing.assert_close(found, trailing_energy(x.feature.mean((2, 3)), 2))


def test_features_are_normalised_first():
    x = source(30, 5)
    found = made(x, student_norm="l2")([x])
    torch.testing.assert_close(found, trailing_energy(F.normalize(x.feature), 2))


def test_levels_have_a_regulariser_each_and_weights():
    first, second = source(9, 5), source(9, 7)
    link = made(first, second, loss=LogDet(0.1), level_weights=[0.5, 2.0])
    values = [log_det(x.feature, eps=0.1) for x in (first, second)]
    torch.testing.assert_close(link([first, second]), 0.5 * values[0] + 2 * values[1])
    assert [loss.width for loss in link.losses] == [5, 7]
    assert link.projectors == [None, None]


def test_what_it_compares_is_the_student_alone():
    x = source(3, 4, 6, 5)
    (level,) = made(x, student_norm="l2").compared([x])
    torch.testing.assert_close(level.student, F.normalize(x.feature, dim=-1).movedim(-1, 1))
    assert level.teacher is None


def test_the_link_keeps_its_own_regulariser_untouched():
    loss = TrailingEnergy(2)
    made(source(9, 5), loss=loss)
    assert loss.width == 0
    assert loss.check_finite


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: TrailingEnergy(6), (9, 5), "Link 'mine': TrailingEnergy of rank 6 leaves nothing"),
        (lambda: TrailingEnergy(2), (9, 5, 4, 4, 4), "Link 'mine': .* is neither a map"),
    ],
)
def test_what_does_not_fit_names_the_link(make, shape, message):
    with pytest.raises(LayoutError, match=message):
        made(source(*shape), loss=make())


def test_too_few_rows_name_the_link_and_the_remedy():
    x = source(9, 5)
    link = made(x, loss=EffectiveRank())
    with pytest.raises(
        LayoutError, match=r"Link 'mine': EffectiveRank needs at least 2 rows .*got 1"
    ):
        link([Source(x.feature[:1], SIZE)])


def test_a_stated_layout_that_is_another_names_the_link():
    with pytest.raises(LayoutError, match=r"Link 'mine': "):
        made(source(9, 5), student_layout=Layout("map"))
