import copy
import math
import pickle
from typing import Literal

import pytest
import runs
import torch
from torch import Tensor

from anyteacher.errors import ConfigError, NonFiniteError
from anyteacher.tasks.adversary import Adversarial, Adversary, verdict

SMALL = Adversarial(width=4, layers=2)


def example() -> tuple[Tensor, Tensor]:
    """Real pictures, and made ones that are too dark."""
    real = torch.rand(4, 6, 16, 16)
    return real, 0.3 * real


def learned(adversary: Adversary, *pictures: Tensor) -> float:
    """The loss of a batch, by which it then steps."""
    loss = float(adversary.learn(*pictures))
    adversary.step()
    return loss


@pytest.mark.parametrize("real", [True, False])
def test_verdicts_by_hand(real: bool) -> None:
    logits = torch.tensor([0.3, -1.2, 2.0]).reshape(1, 1, 1, 3).double()
    squares = sum((x - real) ** 2 for x in (0.3, -1.2, 2.0)) / 3
    assert float(verdict(logits, real, "least_squares")) == pytest.approx(squares)
    probabilities = [1 / (1 + math.exp(-x)) for x in (0.3, -1.2, 2.0)]
    entropy = -sum(math.log(p if real else 1 - p) for p in probabilities) / 3
    assert float(verdict(logits, real, "vanilla")) == pytest.approx(entropy)


@pytest.mark.parametrize("loss", ["least_squares", "vanilla"])
def test_it_learns_to_tell_made_from_real(loss: Literal["least_squares", "vanilla"]) -> None:
    adversary = Adversary(Adversarial(loss=loss, width=4, layers=2, lr=2e-3), channels=6)
    real, made = example()
    losses = [learned(adversary, real, made) for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]
    assert adversary.judge(real) < adversary.judge(made)


@pytest.mark.parametrize("batches", [1, 2])
def test_a_step_is_that_of_adam_on_the_mean_of_both_verdicts(batches: int) -> None:
    adversary = Adversary(SMALL, channels=6)
    twin = copy.deepcopy(adversary.network).requires_grad_(True)
    optimizer = torch.optim.Adam(twin.parameters(), lr=2e-4, betas=(0.5, 0.999))
    real, made = example()
    for _ in range(3):
        told = [twin(2 * pictures - 1) for pictures in (real, made)]
        loss = ((told[0] - 1).square().mean() + told[1].square().mean()) / 2
        parts = zip(real.chunk(batches), made.chunk(batches), strict=True)
        losses = [adversary.learn(*part) for part in parts]
        adversary.step()
        assert float(sum(losses)) / batches == pytest.approx(loss.item(), rel=1e-6)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(adversary.network.state_dict()[name], value)


def test_learning_reaches_the_adversary_alone_and_judging_the_picture_alone() -> None:
    adversary = Adversary(SMALL, channels=6)
    real, made = (x.requires_grad_() for x in example())
    before = copy.deepcopy(adversary.network.state_dict())
    adversary.step()
    assert runs.differences(before, adversary.network.state_dict()) == []
    learned(adversary, real, made)
    assert real.grad is made.grad is None
    after = copy.deepcopy(adversary.network.state_dict())
    assert set(runs.differences(before, after)) == {f"/{name}" for name in before}
    adversary.judge(made).backward()
    assert (made.grad != 0).any()
    assert all(p.grad is None for p in adversary.network.parameters())
    assert runs.differences(adversary.network.state_dict(), after) == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_it_keeps_its_own_precision(dtype: torch.dtype) -> None:
    real, made = example()
    plain, other = Adversary(SMALL, channels=6), Adversary(SMALL, channels=6)
    made = made.to(dtype).requires_grad_()
    expected = learned(plain, real, made.detach().float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert learned(other, real, made) == expected
        judged = other.judge(made)
    assert judged.dtype == torch.float32
    judged.backward()
    assert made.grad.dtype == dtype
    assert runs.differences(plain.state_dict(), other.state_dict()) == []


def test_it_draws_nothing_from_the_random_numbers_of_the_student() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first = Adversary(SMALL, channels=6)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(1)
    other = Adversary(SMALL, channels=6)
    assert runs.differences(first.network.state_dict(), other.network.state_dict())


def test_it_goes_on_from_its_state_bit_for_bit(tmp_path) -> None:
    whole, stopped, inputs = Adversary(SMALL, 6), Adversary(SMALL, 6), example()
    for _ in range(4):
        learned(whole, *inputs)
    for _ in range(2):
        learned(stopped, *inputs)
    torch.save(stopped.state_dict(), tmp_path / "state.pt")
    resumed = Adversary(SMALL, 6)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    copied = pickle.loads(pickle.dumps(stopped))
    for again in (resumed, copied):
        for _ in range(2):
            learned(again, *inputs)
        assert runs.differences(again.state_dict(), whole.state_dict()) == []
    with pytest.raises(ConfigError, match="other layers or widths"):
        Adversary(Adversarial(width=8, layers=2), 6).load_state_dict(whole.state_dict())


def test_it_follows_the_student_to_another_device_with_all_it_has() -> None:
    adversary = Adversary(SMALL, channels=6)
    learned(adversary, *example())
    adversary._follow(torch.device("meta"))
    (group,) = adversary.optimizer.param_groups
    parameters = list(adversary.network.parameters())
    assert len(group["params"]) == len(parameters)
    for ours, theirs in zip(group["params"], parameters, strict=True):
        assert ours is theirs
        assert adversary.optimizer.state[ours]["exp_avg"].device.type == "meta"


def test_what_is_no_number_is_named() -> None:
    real, made = example()
    with pytest.raises(NonFiniteError, match="The loss of the adversary is nan"):
        Adversary(SMALL, channels=6).learn(real, made * torch.nan)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "hinge"}, "'least_squares' or 'vanilla', not 'hinge'"),
        ({"weight": 0.0}, "must be positive, got 0.0"),
        ({"lr": -1.0}, "must be positive, got 0.005 and -1.0"),
    ],
)
def test_impossible_settings(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Adversarial(**settings)


def test_two_processes_learn_as_one_with_the_whole_batch(tmp_path, program) -> None:
    program("adversary_parallel.py", tmp_path)
    one, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    assert runs.differences(first[1], second[1]) == []
    for a, b, whole in zip(first[0], second[0], one[0], strict=True):
        assert (a + b) / 2 == pytest.approx(whole, rel=1e-12)
    for name, value in one[1].items():
        torch.testing.assert_close(first[1][name], value, rtol=0, atol=1e-10)
