"""Ours and torchdistill's are the same loss wherever it is said that they are."""

import sys

import pytest
import torch
from benchmarks.cases import CASES
from benchmarks.links import LinkAlone, Shape
from benchmarks.rival import formed
from benchmarks.rivals import RIVALS, installed, rival

from benchmarks import cases, rivals

TINY = {
    "map": Shape("map", 4, 6, 5),
    "tokens": Shape("tokens", 4, 6, 26),
    "vector": Shape("vector", 4, 6),
    "logits": Shape("vector", 4, 10, times=1),
}
PAIRS = [(name, features) for name in RIVALS for features in CASES[name].features]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(cases, "SAMPLES", 64)


def alone_of(name, features):
    return LinkAlone(TINY[features], link=CASES[name].link)


@pytest.mark.parametrize(("name", "features"), PAIRS)
def test_values_and_gradients_agree_where_the_forms_do(name, features):
    checked = rival(name, alone_of(name, features))  # which compares the values
    alone = alone_of(name, features)
    found = RIVALS[name](alone)
    if found == "":
        assert (name, features) in [("LogSum", "map"), ("LogSum", "tokens")]
        return
    assert checked.note == found.note
    if found.as_ours is None:
        assert name in {"FSP", "SP"}
        assert name in found.note
        assert found.theirs().isfinite()
        return
    torch.manual_seed(1)
    ours = (found.ours or (lambda: alone.loss(found.direction)))()
    torch.manual_seed(1)
    theirs = found.as_ours(found.theirs())
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-7)
    if name == "CC":
        return  # theirs starts from rows of unit length
    mine = torch.autograd.grad(ours, alone.student[0].feature)[0]
    other = torch.autograd.grad(theirs, found.wanted[0])[0]
    torch.testing.assert_close(mine, other, rtol=2e-3, atol=1e-4 * float(mine.abs().max()))


@pytest.mark.parametrize(("name", "features"), PAIRS)
def test_both_learn_as_many_parameters(name, features):
    alone = alone_of(name, features)
    found = RIVALS[name](alone)
    if found == "":
        return
    ours = found.ours_wanted or alone.wanted(found.direction)
    mine, theirs = ([x.numel() for x in wanted[1:]] for wanted in (ours, found.wanted))
    assert sum(mine) == sum(theirs)


def test_comparing_different_losses_is_refused(monkeypatch):
    def twice(alone):
        found = RIVALS["MSE"](alone)
        found.as_ours = lambda value: 2 * value
        return found

    monkeypatch.setitem(rivals.RIVALS, "SmoothL1", twice)
    with pytest.raises(ValueError, match=r"^SmoothL1: ours gives .* not the same loss"):
        rival("SmoothL1", alone_of("SmoothL1", "map"))


def test_the_check_leaves_the_memory_of_a_loss_as_it_was():
    alone = alone_of("CRD", "vector")
    before = {k: v.clone() for k, v in alone.connections["none"].state_dict().items()}
    rival("CRD", alone)
    after = alone.connections["none"].state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_features_too_large_are_not_compared(monkeypatch):
    monkeypatch.setattr(rivals, "_LARGEST", 1000)
    note = rival("RKDAngle", alone_of("RKDAngle", "map"))
    assert note.startswith("RKDAngle: not run on features so large")


def test_it_gets_tokens_as_a_map_without_the_class_token():
    student = alone_of("AT", "tokens").student[0]
    x = formed(student)
    assert x.shape == (4, 6, 5, 5)
    assert torch.equal(x[1, :, 0, 2], student.feature[1, 3])


def test_a_loss_that_it_lacks_has_no_rival():
    assert rival("NST", alone_of("NST", "map")) == ""


def test_it_may_be_missing(monkeypatch):
    assert installed()  # with the extra bench, which the tests need
    monkeypatch.setitem(sys.modules, "torchdistill", None)
    assert not installed()
