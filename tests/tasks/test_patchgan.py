import pytest
import torch

from anyteacher.errors import ConfigError
from anyteacher.tasks.patchgan import PatchGAN


@pytest.mark.parametrize(("layers", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_a_patch_of_that_size(layers: int, patch: int) -> None:
    network = PatchGAN(1, width=4, layers=layers).double()
    # Without its normalisation, which sees the whole image.
    network.stages = torch.nn.Sequential(
        *(stage for stage in network.stages if not isinstance(stage, torch.nn.InstanceNorm2d))
    )
    picture = torch.rand(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
    logits = network(picture)
    row, column = (length // 2 for length in logits.shape[2:])
    logits[0, 0, row, column].backward()
    seen = picture.grad[0, 0].nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [patch, patch]


def test_the_usual_one_has_the_size_of_pix2pix() -> None:
    network = PatchGAN(6)
    assert network(torch.rand(1, 6, 256, 256)).shape == (1, 1, 30, 30)
    weights = sum(p.numel() for p in network.parameters() if p.ndim == 4)
    assert weights == 16 * (6 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)


def test_an_image_is_judged_by_itself() -> None:
    network, pictures = PatchGAN(3, width=4, layers=2), torch.rand(3, 3, 24, 40)
    torch.testing.assert_close(network(pictures)[1:2], network(pictures[1:2]))


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_the_least_size_is_enough_and_below_is_refused(layers: int) -> None:
    network = PatchGAN(1, width=2, layers=layers)
    least = 3 * 2**layers
    assert network(torch.rand(1, 1, least, least)).isfinite().all()
    with pytest.raises(ConfigError, match=f"pictures of {least} pixels or more.*{least - 1} x 99"):
        network(torch.rand(1, 1, least - 1, 99))


def test_impossible_settings() -> None:
    with pytest.raises(ConfigError, match="at least one channel, width and layer, got 3, 64 and 0"):
        PatchGAN(3, layers=0)
