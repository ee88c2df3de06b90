import torch
from torch import nn

from anyteacher.teachers.untrained import Random, has_batch_norm


def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_random_weights_follow_the_seed_and_leave_the_random_state_alone():
    state = torch.get_rng_state()
    first = Random(build, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert Random(build, seed=1).fingerprint() == first.fingerprint()
    assert Random(build, seed=2).fingerprint() != first.fingerprint()
    assert not first.training
    assert not any(parameter.requires_grad for parameter in first.parameters())


def test_batch_normalisations_wait_for_statistics():
    assert has_batch_norm(build())
    assert not Random(build).calibrated
    assert Random(build).calibrate([torch.rand(2, 3, 8, 8)]).calibrated
    assert Random(lambda: nn.Conv2d(3, 4, 3)).calibrated
