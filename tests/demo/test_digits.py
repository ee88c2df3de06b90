from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from anyteacher.data import DigitsDataset
from anyteacher.demo import digits
from anyteacher.demo.digits import run_digits
from anyteacher.demo.plan import DIGITS
from anyteacher.models import ConvNet

STUDY = replace(DIGITS, steps=12)
ALONE, TRADITIONAL, INVERTED = DIGITS.arms


@pytest.fixture
def made(monkeypatch):
    """Every network that a run makes, in order, each with a copy of its first weights."""
    found = []

    class Kept(ConvNet):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            found.append((self, state(self)))

    monkeypatch.setattr(digits, "ConvNet", Kept)
    return found


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def outcome(run):
    return run.metrics, run.curve


def plain_loop(seed, steps):
    """What `alone` says it is, with torch alone."""
    train, val, test = DigitsDataset("train", 50, seed), DigitsDataset("val"), DigitsDataset("test")
    torch.manual_seed(seed)
    student = ConvNet(10)
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def top1(data):
        student.eval()
        with torch.no_grad():
            right = student(data.images).argmax(1) == data.labels
        student.train()
        return right.sum().item() / len(data)

    curve = []
    for step in range(steps):
        loss = F.cross_entropy(student(train.images), train.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        curve.append((step, top1(val)))
    return student, curve, top1(test)


@pytest.mark.parametrize("seed", [0, 5])
def test_alone_is_a_plain_training_loop_bit_for_bit(made, seed):
    run = run_digits(STUDY, ALONE, seed)
    expected, curve, top1 = plain_loop(seed, STUDY.steps)
    [(student, _)] = made
    assert equal(state(student), state(expected))
    assert [step for step, _ in run.curve] == list(range(STUDY.steps))
    assert [v for _, v in run.curve] == pytest.approx([v for _, v in curve], abs=1e-6)
    assert run.metrics == {"top1": pytest.approx(top1, abs=1e-6)}


def test_students_of_all_arms_start_alike_and_end_apart(made):
    for arm in DIGITS.arms:
        run_digits(STUDY, arm, 3)
    alone, traditional, _, inverted, _ = made
    assert equal(alone[1], traditional[1])
    assert equal(alone[1], inverted[1])
    ends = [state(student) for student, _ in (alone, traditional, inverted)]
    assert not any(equal(ends[i], ends[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_the_random_teacher_is_the_same_for_both_directions_and_never_trained(made):
    for arm in (TRADITIONAL, INVERTED):
        run_digits(STUDY, arm, 3)
    (_, _), (one, first), (_, _), (other, second) = made
    assert equal(first, second)
    assert equal(state(one), state(other))
    assert all(torch.equal(p, first[name]) for name, p in one.named_parameters())
    assert one.stages[2][0].out_channels > 64  # wider than the student


@pytest.mark.parametrize("arm", [TRADITIONAL, INVERTED], ids=["traditional", "inverted"])
def test_a_link_of_no_weight_changes_nothing(made, arm):
    alone = run_digits(STUDY, ALONE, 1)
    taught = run_digits(STUDY, replace(arm, weight=0.0), 1)
    assert outcome(taught) == outcome(alone)
    assert equal(state(made[0][0]), state(made[1][0]))


@pytest.mark.parametrize("arm", DIGITS.arms, ids=lambda arm: arm.name)
def test_the_same_seed_gives_the_same_run_and_draws_nothing_outside(made, arm):
    before = torch.get_rng_state()
    one = run_digits(STUDY, arm, 2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    other = run_digits(STUDY, arm, 2)
    assert outcome(one) == outcome(other)
    half = len(made) // 2
    assert equal(state(made[0][0]), state(made[half][0]))


def test_the_seed_decides_images_and_weights(made):
    run_digits(STUDY, ALONE, 0)
    run_digits(STUDY, ALONE, 1)
    assert not equal(made[0][1], made[1][1])
    images = [DigitsDataset("train", 50, seed).indices.tolist() for seed in (0, 1)]
    assert images[0] != images[1]


def test_the_comparison_is_the_arms(made):
    pooled = run_digits(STUDY, replace(INVERTED, compare="pooled"), 0)
    positions = run_digits(STUDY, replace(INVERTED, compare="positions"), 0)
    assert not equal(state(made[0][0]), state(made[2][0]))
    assert pooled.seconds > 0
    assert positions.predictions.numel() == 0


def test_a_long_run_learns_and_is_looked_at_about_ten_times():
    run = run_digits(replace(DIGITS, steps=60), ALONE, 0)
    assert run.metrics["top1"] > 0.6  # chance is 0.1
    assert [step for step, _ in run.curve] == list(range(5, 60, 6))
