from collections import OrderedDict

import pytest
import torch
from torch import nn

from anyteacher.errors import TapError
from anyteacher.taps import Tap, describe, find_module, items_of, select, tapped_module


@pytest.mark.parametrize(
    ("text", "tap"),
    [
        ("layer4", Tap("layer4")),
        ("", Tap("")),
        ("stages.3[1]", Tap("stages.3", 1)),
        ("stages[-1]", Tap("stages", -1)),
        ("encoder[last_hidden_state]", Tap("encoder", "last_hidden_state")),
        ("input:head", Tap("head", side="input")),
        ("input:head[0]", Tap("head", 0, "input")),
    ],
)
def test_the_short_form(text, tap):
    assert Tap.parse(text) == tap
    assert str(tap) == text
    assert Tap.parse(tap) is tap


def test_a_call_is_told_in_the_text():
    assert str(Tap("a", call=2)) == "a (call 2)"


def test_the_only_tensor_needs_no_key():
    tap = Tap("block")
    x = torch.randn(2)
    assert select((x, None, "text"), tap) is x
    assert select({"a": x}, tap) is x


@pytest.mark.parametrize(
    ("value", "text", "message"),
    [
        ((torch.ones(2), torch.ones(3)), "a", r"holds a tuple of 2 .* Name an item: 'a\[0\]'"),
        ((torch.ones(2),), "a[7]", r"'a\[7\]': no such item. It holds a tuple of 1"),
        ({"x": torch.ones(2)}, "a[y]", r"'a\[y\]': no such item. It holds a dict of 1"),
        (torch.ones(2), "a[b]", r"'a\[b\]': no such item"),
        (None, "a", r"holds a NoneType, not one tensor. Tap another module"),
    ],
)
def test_what_holds_no_such_tensor(value, text, message):
    with pytest.raises(TapError, match=message):
        select(value, Tap.parse(text))


@pytest.mark.parametrize("key", ["--1", "-", "²", "1.0"])
def test_a_key_that_is_no_number_is_a_name(key):
    assert Tap.parse(f"a[{key}]") == Tap("a", key)


def test_values_are_told_in_short():
    assert describe(3) == "a int"
    assert describe([torch.ones(2, 3)]) == "a list of 1 (0: a tensor (2, 3))"
    assert (items_of({"a": 1}), items_of([2]), items_of("text")) == ({"a": 1}, {0: 2}, {})


def test_a_wrong_path_names_the_nearest():
    model = nn.Sequential(OrderedDict(layer1=nn.ReLU(), layer2=nn.ReLU()))
    with pytest.raises(TapError, match=r"has no module 'layer3'. Did you mean layer\d or layer\d"):
        find_module(model, "layer3")
    model.register_module("slot", None)
    with pytest.raises(TapError, match="empty slot at 'slot'"):
        find_module(model, "slot")


def test_wrappers_may_be_left_out_of_the_path():
    inner = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh()))
    compiled = torch.compile(inner, backend="eager")
    for model in (inner, compiled, nn.DataParallel(compiled)):
        assert find_module(model, "1.0") is inner[1][0]
    assert find_module(compiled, "_orig_mod.1") is inner[1]


def test_the_module_behind_a_tap():
    model = nn.Sequential(nn.ReLU(), nn.Tanh())
    assert tapped_module(model, Tap("1")) is model[1]
    assert tapped_module(model, Tap.parse("input:1")) is None
