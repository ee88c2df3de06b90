import torch

from anyteacher.losses.convolution import convolve, same_size


def slow_convolution(image, layer):
    """Of one image (C, H, W), by loops; outside the map there are zeros."""
    channels, height, width = image.shape
    values, weight = image.tolist(), layer.weight.tolist()
    result = []
    for out, bias in enumerate(layer.bias.tolist()):
        rows = []
        for y in range(height):
            row = []
            for x in range(width):
                row.append(
                    bias
                    + sum(
                        weight[out][c][dy + 1][dx + 1] * values[c][y + dy][x + dx]
                        for c in range(channels)
                        for dy in (-1, 0, 1)
                        for dx in (-1, 0, 1)
                        if 0 <= y + dy < height and 0 <= x + dx < width
                    )
                )
            rows.append(row)
        result.append(rows)
    return torch.tensor(result, dtype=torch.float64)


def test_against_plain_loops():
    layer = same_size(3, 2).double()
    for grid in [(4, 5), (1, 3), (1, 1)]:
        x = torch.randn(2, 3, *grid, dtype=torch.float64)
        result = convolve(x, layer)
        assert result.shape == (2, 2, *grid)
        for found, image in zip(result, x, strict=True):
            torch.testing.assert_close(found, slow_convolution(image, layer))


def test_it_computes_in_the_precision_of_its_input():
    layer, x = same_size(2, 3).half(), torch.randn(1, 2, 4, 4)
    result = convolve(x, layer)
    assert result.dtype == torch.float32
    assert torch.equal(result, layer.float()(x))


def test_a_layer_that_is_not_to_learn_gets_no_gradient_and_its_input_does():
    layer, x = same_size(2, 3), torch.randn(1, 2, 4, 4, requires_grad=True)
    convolve(x, layer, learn=False).square().sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad is None
    constant, x.grad = x.grad, None
    convolve(x, layer).square().sum().backward()
    assert layer.weight.grad.abs().max() > 0
    assert layer.bias.grad.abs().max() > 0
    assert torch.equal(x.grad, constant)
