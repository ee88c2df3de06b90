import pytest
import torch
from torch import nn

from anyteacher.projectors import LevelProjector, Linear, Projector, project


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_channels_last_maps_and_tokens_are_projected_the_same_in_single_and_half_precision(dtype):
    tokens = torch.randn(2, 16, 4, dtype=torch.float64)
    x = tokens[:, 1:].mT.reshape(2, 4, 3, 5)  # as a link makes a map of tokens
    weight = torch.randn(6, 4, dtype=torch.float64)
    y = project(x.to(dtype), weight.to(dtype))
    assert y.dtype == dtype
    assert y.stride(1) == 1  # and stays in the order that it has
    tolerance = {"atol": 1e-5, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 0.1, "rtol": 0}
    torch.testing.assert_close(y.double(), torch.einsum("bchw,dc->bdhw", x, weight), **tolerance)


@pytest.mark.parametrize("grid", [(1, 1), (1, 4), (4, 1)])
@pytest.mark.parametrize("width", [1, 3])
def test_thin_grids_and_single_channels(grid, width):
    x = torch.randn(2, width, *grid, dtype=torch.float64)
    weight = torch.randn(5, width, dtype=torch.float64)
    expected = torch.einsum("bchw,dc->bdhw", x, weight)
    for memory in (torch.contiguous_format, torch.channels_last):
        y = project(x.contiguous(memory_format=memory), weight)
        torch.testing.assert_close(y, expected, atol=1e-12, rtol=0)


def test_the_sizes_are_printed():
    projector = Linear()
    assert repr(nn.Sequential(projector))  # before it is built, too
    projector.build(3, 4)
    assert "3 -> 4" in repr(projector)


def test_a_projector_of_ones_own_is_told_its_sizes():
    class Scale(Projector):
        def _build(self, in_features, out_features):
            assert (self.in_features, self.out_features) == (in_features, out_features) == (3, 3)
            self.factor = nn.Parameter(torch.full((3,), 2.0))

        def forward(self, x):
            return x * self.factor.reshape(-1, *(1 for _ in x.shape[2:]))

    projector = Scale()
    projector.build(3, 3)
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(projector(x), 2 * x)
    assert [name for name, _ in projector.named_parameters()] == ["factor"]


@pytest.mark.parametrize("base", [Projector, LevelProjector])
def test_what_must_be_written_is_asked_for(base):
    with pytest.raises(TypeError, match="abstract"):
        base()


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_of_a_linear_map_is_right(memory):
    x = torch.randn(2, 3, 2, 4, dtype=torch.float64).contiguous(memory_format=memory)
    weight = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(project, (x.requires_grad_(), weight, bias))
