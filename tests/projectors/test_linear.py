import pytest
import torch
import torch.nn.functional as F
from torch import nn

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.projectors import Identity, Linear, LowRank, Orthogonal, project


def built(projector, in_features, out_features):
    projector.build(in_features, out_features)
    return projector.double()


def map_and_rows(width):
    x = torch.randn(2, width, 3, 5, dtype=torch.float64)
    return x, x.permute(0, 2, 3, 1).reshape(-1, width)


def back(rows):
    return rows.reshape(2, 3, 5, -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_a_linear_map_is_one_product_of_the_feature_matrix(bias, memory):
    x, rows = map_and_rows(4)
    weight = torch.randn(6, 4, dtype=torch.float64)
    offset = torch.randn(6, dtype=torch.float64) if bias else None
    expected = rows @ weight.T + (offset if bias else 0)
    x = x.contiguous(memory_format=memory)
    torch.testing.assert_close(project(x, weight, offset), back(expected), atol=1e-12, rtol=0)
    torch.testing.assert_close(project(rows, weight, offset), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("grid", [(1, 1), (1, 4), (4, 1)])
@pytest.mark.parametrize("width", [1, 3])
def test_thin_grids_and_single_channels(grid, width):
    x = torch.randn(2, width, *grid, dtype=torch.float64)
    weight = torch.randn(5, width, dtype=torch.float64)
    expected = torch.einsum("bchw,dc->bdhw", x, weight)
    for memory in (torch.contiguous_format, torch.channels_last):
        y = project(x.contiguous(memory_format=memory), weight)
        torch.testing.assert_close(y, expected, atol=1e-12, rtol=0)


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


def test_low_rank_of_no_rank_is_refused():
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        LowRank(0)


def test_the_sizes_are_printed():
    projector = Linear()
    assert repr(nn.Sequential(projector))  # before it is built, too
    projector.build(3, 4)
    assert "3 -> 4" in repr(projector)
