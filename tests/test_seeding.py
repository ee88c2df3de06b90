import subprocess
import sys

import pytest
import torch

from anyteacher.seeding import forked, seed_draws


def test_what_is_drawn_inside_changes_nothing_outside():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    with forked(1):
        torch.rand(100)
    with forked():
        torch.rand(100)
    assert torch.equal(torch.rand(4), expected)


def test_the_seed_decides_what_is_drawn_inside():
    draws = []
    for outside, inside in ((1, 7), (2, 7), (2, 8)):
        torch.manual_seed(outside)
        with forked(inside):
            draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[1], draws[2])


def test_the_state_comes_back_after_an_error():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    try:
        with forked(1):
            raise RuntimeError
    except RuntimeError:
        pass
    assert torch.equal(torch.rand(1), expected)


def test_draws_on_a_cpu_are_seeded_and_nothing_is_kept_for_later(monkeypatch):
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("it seeds every device"))
    draws = []
    for place in ((1, 2), (2, 1), (1, 2)):
        seed_draws(place, torch.device("cpu"))
        draws.append(torch.rand(3).tolist())
    assert draws[0] == draws[2] != draws[1]


def test_draws_on_another_device_are_seeded_everywhere(monkeypatch):
    seeds = []
    monkeypatch.setattr(torch, "manual_seed", seeds.append)
    seed_draws((3, 0), torch.device("cuda"))
    assert seeds == [hash((3, 0)) % 2**63]


def test_no_gpu_is_woken_up_nor_given_a_seed_for_later():
    program = (
        "import torch; from anyteacher.seeding import forked\n"
        "before = len(torch.cuda._queued_calls)\n"
        "with forked(3): torch.rand(1)\n"
        "print(torch.cuda.is_initialized(), len(torch.cuda._queued_calls) - before)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "0"]
