import pytest
import torch
import torch.nn.functional as F

from anyteacher.errors import ConfigError
from anyteacher.projectors import MLP, Ensemble


def built(projector, in_features, out_features):
    projector.build(in_features, out_features)
    return projector.double()


def map_and_rows(width):
    x = torch.randn(2, width, 3, 5, dtype=torch.float64)
    return x, x.permute(0, 2, 3, 1).reshape(-1, width)


def back(rows):
    return rows.reshape(2, 3, 5, -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize(("hidden", "width"), [(0, 6), (9, 9)])
def test_mlp_is_two_layers_with_a_relu(hidden, width):
    projector = built(MLP(hidden), 4, 6)
    assert projector.first.out_features == width
    x, rows = map_and_rows(4)
    expected = projector.second(F.relu(projector.first(rows)))
    torch.testing.assert_close(projector(x), back(expected), atol=1e-12, rtol=0)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_an_ensemble_is_the_mean_of_separate_members(memory):
    projector = built(Ensemble(3), 4, 6)
    x, rows = map_and_rows(4)
    weights = projector.members.weight.split(6)
    biases = projector.members.bias.split(6)
    members = [F.relu(F.linear(rows, w, b)) for w, b in zip(weights, biases, strict=True)]
    expected = sum(members) / 3
    y = projector(x.contiguous(memory_format=memory))
    torch.testing.assert_close(y, back(expected), atol=1e-12, rtol=0)
    torch.testing.assert_close(projector(rows), expected, atol=1e-12, rtol=0)


def test_members_start_apart_like_separate_layers():
    members = built(Ensemble(2), 64, 32).members
    bound = 1 / 64**0.5  # nn.Linear's own range for 64 inputs
    first, second = members.weight.split(32)
    assert (first - second).abs().max() > bound / 2
    assert 0.9 * bound < members.weight.abs().max() <= bound


@pytest.mark.parametrize("bias", [False, True])
def test_an_mlp_has_offsets_in_both_layers_or_in_none(bias):
    projector = built(MLP(bias=bias), 3, 5)
    assert (projector.first.bias is not None) == (projector.second.bias is not None) == bias


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP(hidden=-1), "at least 1, or 0, got -1"),
        (lambda: Ensemble(0), "at least one projector, got 0"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
