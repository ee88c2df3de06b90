import pytest
import torch
import torch.nn.functional as F

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.projectors import Identity, Linear, LowRank, Orthogonal


def built(projector, in_features, out_features):
    projector.build(in_features, out_features)
    return projector.double()


def test_linear_has_no_bias_unless_asked():
    assert built(Linear(), 3, 4).linear.bias is None
    assert built(Linear(bias=True), 3, 4).linear.bias.shape == (4,)


@pytest.mark.parametrize("sizes", [(4, 6), (6, 4), (5, 5)])
def test_orthogonal_stays_orthonormal_while_it_learns(sizes):
    projector = built(Orthogonal(), *sizes)
    before = projector.weight.detach().clone()
    optimizer = torch.optim.AdamW(projector.parameters(), lr=0.1, weight_decay=0.1)
    x = torch.randn(20, sizes[0], dtype=torch.float64)
    target = torch.randn(20, sizes[1], dtype=torch.float64)
    losses = []
    for _ in range(20):
        loss = F.mse_loss(projector(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    weight = projector.weight
    gram = weight @ weight.T if sizes[1] <= sizes[0] else weight.T @ weight
    torch.testing.assert_close(gram, torch.eye(min(sizes)).double(), atol=1e-12, rtol=0)
    assert (weight - before).abs().max() > 0.1
    assert losses[-1] < losses[0]


def test_low_rank_passes_so_many_directions():
    projector = built(LowRank(2), 5, 7)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: projector(x[None])[0], torch.zeros(5, dtype=torch.float64)
    )
    assert jacobian.shape == (7, 5)
    assert torch.linalg.matrix_rank(jacobian) == 2


def test_low_rank_above_the_width_bounds_nothing():
    with pytest.raises(LayoutError, match="rank of at most 4"):
        LowRank(5).build(4, 8)
    LowRank(4).build(4, 8)


def test_identity_refuses_unequal_widths():
    x = torch.randn(2, 3)
    assert built(Identity(), 3, 3)(x) is x
    with pytest.raises(LayoutError, match=r"same width, got 3 and 4. Use projectors.Linear"):
        Identity().build(3, 4)


@pytest.mark.parametrize("bias", [False, True])
def test_linear_and_low_rank_are_their_matrices(bias):
    x = torch.randn(5, 4, dtype=torch.float64)
    linear, low = built(Linear(bias), 4, 6), built(LowRank(2, bias), 4, 6)
    offsets = (linear.linear.bias, low.up.bias) if bias else (0, 0)
    expected = x @ linear.linear.weight.T + offsets[0]
    torch.testing.assert_close(linear(x), expected, atol=1e-12, rtol=0)
    expected = x @ low.down.weight.T @ low.up.weight.T + offsets[1]
    torch.testing.assert_close(low(x), expected, atol=1e-12, rtol=0)
    assert low.down.bias is None  # a second offset would say nothing new


def test_orthogonal_keeps_distances_where_it_widens():
    x = torch.randn(6, 4, dtype=torch.float64)
    wide, narrow = built(Orthogonal(), 4, 9), built(Orthogonal(), 4, 2)
    torch.testing.assert_close(torch.cdist(wide(x), wide(x)), torch.cdist(x, x))
    assert (torch.cdist(narrow(x), narrow(x)) <= torch.cdist(x, x) + 1e-12).all()


def test_a_rank_below_one_is_refused():
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        LowRank(0)
