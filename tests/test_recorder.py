import copy
import gc
import pickle
import weakref
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from anyteacher.errors import TapError
from anyteacher.recorder import Recorder
from anyteacher.taps import Tap


class Named(OrderedDict):
    """Like the outputs of transformers: a mapping that also takes places."""

    def __getitem__(self, key):
        return list(self.values())[key] if isinstance(key, int) else super().__getitem__(key)


class Many(nn.Module):
    """Gives its input doubled, tripled and negated, in the container that is asked for."""

    def __init__(self, container):
        super().__init__()
        self.container = container

    def forward(self, x):
        values = {"double": 2 * x, "triple": 3 * x, "0": -x}
        if self.container in (tuple, list):
            return self.container(values.values())
        return self.container(values)


class Wrap(nn.Module):
    """A model around one block, called as told."""

    def __init__(self, block, call=lambda block, x: block(x)):
        super().__init__()
        self.block, self.call = block, call

    def forward(self, x):
        out = self.call(self.block, x)
        return out if isinstance(out, torch.Tensor) else x


def seen(model, text, x):
    tap = Tap.parse(text)
    recorder = Recorder(model, [tap])
    probed = recorder.probe(x)[tap]
    feature = recorder.run(x)[1][tap]
    assert torch.equal(probed, feature)
    recorder.remove()
    return feature


@pytest.mark.parametrize("container", [tuple, list, dict, Named])
def test_an_item_by_its_place(container):
    x = torch.randn(2, 3)
    assert torch.equal(seen(Wrap(Many(container)), "block[1]", x), 3 * x)
    assert torch.equal(seen(Wrap(Many(container)), "block[-3]", x), 2 * x)


@pytest.mark.parametrize("container", [dict, Named])
def test_an_item_by_its_key(container):
    x = torch.randn(2, 3)
    assert torch.equal(seen(Wrap(Many(container)), "block[triple]", x), 3 * x)


def test_a_key_that_is_a_number_in_text():
    x = torch.randn(2, 3)
    assert torch.equal(seen(Wrap(Many(dict)), "block[0]", x), -x)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("block", r"holds a tuple of 3 \(0: a tensor \(2, 3\), .* Name an item: 'block\[0\]'"),
        ("block[7]", r"'block\[7\]': no such item. It holds a tuple of 3"),
        ("block[name]", r"'block\[name\]': no such item"),
    ],
)
def test_an_item_that_is_missing_or_not_named(text, message):
    with pytest.raises(TapError, match=message):
        seen(Wrap(Many(tuple)), text, torch.randn(2, 3))


def test_a_module_without_a_tensor():
    class Silent(nn.Module):
        def forward(self, x):
            return None

    with pytest.raises(TapError, match=r"holds a NoneType, not one tensor. Tap another module"):
        seen(Wrap(Silent()), "block", torch.randn(2))


def test_inputs_by_position_and_by_keyword():
    x = torch.randn(2, 3)
    block = nn.Linear(3, 4)
    for call in (lambda b, x: b(2 * x), lambda b, x: b(input=2 * x)):
        assert torch.equal(seen(Wrap(block, call), "input:block", x), 2 * x)


def test_the_model_itself_can_be_tapped():
    x, model = torch.randn(2, 3), nn.Linear(3, 4)
    assert torch.equal(seen(model, "", x), model(x))
    assert torch.equal(seen(model, "input:", x), x)


class Overwriting(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.conv, self.how = nn.Conv2d(1, 2, 1), how
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.conv(x)
        if self.how == "relu":
            return self.relu(y)
        if self.how == "add":
            y += 1
            return y
        return y[:, :1].mul_(2)


@pytest.mark.parametrize("how", ["relu", "add", "view"])
def test_what_a_later_module_overwrites_is_copied(how):
    model, x = Overwriting(how), torch.randn(2, 1, 3, 3)
    assert torch.equal(seen(model, "conv", x), model.conv(x))
    recorder = Recorder(model, [Tap("conv")])
    recorder.probe(x)
    _, features = recorder.run(x)
    features[Tap("conv")].sum().backward()
    grad = model.conv.weight.grad.flatten()
    torch.testing.assert_close(grad, x.sum().repeat(2), atol=1e-4, rtol=1e-4)


def test_copied_items_are_still_found_by_place():
    class InPlace(Many):
        def forward(self, x):
            out = super().forward(x)
            self.kept = out["double"]
            return out

    def call(block, x):
        out = block(x)
        block.kept.zero_()
        return out["triple"]

    x = torch.randn(2, 3)
    assert torch.equal(seen(Wrap(InPlace(Named), call), "block[0]", x), -x)
    assert torch.equal(seen(Wrap(InPlace(Named), call), "block[-3]", x), 2 * x)


def test_a_dropout_that_overwrites_in_training_only():
    model = nn.Sequential(nn.Linear(3, 50), nn.Dropout(0.5, inplace=True))
    recorder, x = Recorder(model, [Tap("0")]), torch.randn(4, 3)
    model.eval()
    recorder.probe(x)
    model.train()
    assert torch.equal(recorder.run(x)[1][Tap("0")], model[0](x))


def test_an_overwriting_that_the_probe_did_not_show_is_an_error():
    class Moody(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1)

        def forward(self, x):
            y = self.conv(x)
            return y.mul_(2) if self.training else y

    model = Moody().eval()
    recorder, x = Recorder(model, [Tap("conv")]), torch.randn(1, 1, 2, 2)
    recorder.probe(x)
    recorder.run(x)
    model.train()
    with pytest.raises(TapError, match=r"'conv' is overwritten in place .* Set inplace=False"):
        recorder.run(x)


def test_a_module_at_two_paths_and_called_again():
    shared = nn.Linear(3, 3)
    model = nn.Sequential(OrderedDict(first=shared, middle=nn.ReLU(), second=shared))
    x = torch.randn(2, 3)
    one, two = shared(x), shared(shared(x).relu())
    taps = [Tap("first", call=0), Tap("first", call=1), Tap("second"), Tap("second", call=-2)]
    recorder = Recorder(model, taps)
    recorder.probe(x)
    features = recorder.run(x)[1]
    for tap, expected in zip(taps, (one, two, two, one), strict=True):
        assert torch.equal(features[tap], expected)
    with pytest.raises(TapError, match=r"'first \(call 2\)': the module ran 2 times"):
        seen(model, Tap("first", call=2), x)


def test_a_module_that_is_not_reached():
    model = Wrap(nn.ReLU())
    model.spare = nn.ReLU()
    with pytest.raises(TapError, match=r"'spare': the module was not reached .* of Wrap"):
        seen(model, "spare", torch.randn(2))


def test_a_wrong_path_names_the_nearest():
    model = nn.Sequential(OrderedDict(layer1=nn.ReLU(), layer2=nn.ReLU()))
    with pytest.raises(TapError, match=r"has no module 'layer3'. Did you mean layer\d or layer\d"):
        Recorder(model, [Tap("layer3")])
    assert not model.layer1._forward_hooks


def test_a_wrong_path_beside_a_right_one_leaves_no_hook():
    model = nn.Sequential(nn.ReLU())
    with pytest.raises(TapError):
        Recorder(model, [Tap("0"), Tap("1")])
    assert not model[0]._forward_hooks


def test_hooks_are_silent_outside_of_a_run_and_go_away():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), torch.randn(2, 3)
    keys = list(model.state_dict())
    recorder = Recorder(model, [Tap("0"), Tap("1", side="input")])
    model(x)
    assert not recorder._capture.values
    assert list(model.state_dict()) == keys
    assert model[0]._forward_hooks
    recorder.remove()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_nothing_is_kept_after_a_run():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4)), torch.randn(2, 3)
    recorder = Recorder(model, [Tap("0")])
    recorder.probe(x)
    output, features = recorder.run(x)
    feature = weakref.ref(features[Tap("0")])
    del output, features
    gc.collect()
    assert feature() is None


def test_an_error_inside_the_model_leaves_the_recorder_at_rest():
    def fail(block, x):
        block(x)
        raise ValueError("inside")

    model, x = Wrap(nn.Linear(3, 3), fail), torch.randn(2, 3)
    recorder = Recorder(model, [Tap("block")])
    for run in (recorder.run, recorder.probe):
        with pytest.raises(ValueError, match="inside"):
            run(x)
        assert not recorder._capture.active
        assert not recorder._capture.probing
        assert not recorder._capture.values
    model.call = lambda block, x: block(x)
    assert torch.equal(recorder.run(x)[1][Tap("block")], model.block(x))


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x + 1


@pytest.mark.parametrize(
    ("taps", "calls"),
    [
        (["0"], [1, 0, 0]),
        (["0", "1"], [1, 1, 0]),
        (["input:2"], [1, 1, 0]),
        (["2"], [1, 1, 1]),
        ([""], [1, 1, 1]),
        (["2", "0"], [1, 1, 1]),
    ],
)
def test_a_forward_stops_after_its_last_tap(taps, calls):
    model, x = nn.Sequential(Counting(), Counting(), Counting()), torch.zeros(1)
    taps = [Tap.parse(text) for text in taps]
    recorder = Recorder(model, taps)
    recorder.probe(x, stop_early=True)
    for module in model:
        module.calls = 0
    output, features = recorder.run(x)
    assert [module.calls for module in model] == calls
    assert set(features) == set(taps)
    plain = Recorder(model, taps)
    plain.probe(x)
    whole, expected = plain.run(x)
    assert whole is not None
    assert all(torch.equal(features[tap], expected[tap]) for tap in taps)
    assert output is None or torch.equal(output, whole)


def test_a_forward_that_repeats_a_module_stops_at_the_call_that_is_needed():
    model, x = Counting(), torch.zeros(1)
    outer = Wrap(model, lambda block, x: block(block(block(x))))
    recorder = Recorder(outer, [Tap("block", call=1)])
    recorder.probe(x, stop_early=True)
    model.calls = 0
    assert recorder.run(x)[1][Tap("block", call=1)] == 2
    assert model.calls == 2


def test_no_except_of_the_model_catches_the_stop():
    def careful(block, x):
        try:
            return block(x)
        except Exception:
            return None

    recorder = Recorder(Wrap(Counting(), careful), [Tap("block")])
    recorder.probe(torch.zeros(1), stop_early=True)
    output, features = recorder.run(torch.zeros(1))
    assert output is None
    assert features[Tap("block")] == 1


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.block = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 6))
        self.reentrant = reentrant

    def forward(self, x):
        y = self.stem(x)
        if self.reentrant is None:
            return self.block(y)
        return checkpoint(self.block, y, use_reentrant=self.reentrant)


# The probe runs without gradients; torch says so of its own reentrant checkpoints.
quiet = pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")


def gradients(reentrant, path):
    torch.manual_seed(0)
    model, x = Checkpointed(reentrant).double(), torch.randn(2, 3).double()
    recorder = Recorder(model, [Tap(path)])
    recorder.probe(x)
    output, features = recorder.run(x)
    feature = features[Tap(path)]
    (output.square().sum() + feature.pow(3).sum()).backward()
    assert not recorder._capture.values  # the second forward of the checkpoint left nothing
    return [parameter.grad for parameter in model.parameters()]


@quiet
@pytest.mark.parametrize(
    ("reentrant", "path"), [(False, "block.0"), (False, "block.1"), (False, "stem"), (True, "stem")]
)
def test_activation_checkpoints_give_the_same_gradients(reentrant, path):
    for mine, expected in zip(gradients(reentrant, path), gradients(None, path), strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-12, rtol=0)


@quiet
def test_a_tap_at_a_reentrant_checkpoint_is_from_outside_or_an_error():
    with pytest.raises(
        TapError, match=r"'block.1' .* use_reentrant=False\), or tap the checkpoint"
    ):
        gradients(True, "block.1")
    model, x = Checkpointed(True), torch.randn(2, 3)
    recorder = Recorder(model, [Tap("block.1")])
    with torch.no_grad():  # nothing is lost without gradients
        recorder.run(x)


def test_copies_and_pickles_of_a_model_with_hooks_are_models_of_their_own():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True)), torch.randn(2, 3)
    recorder = Recorder(model, [Tap("0"), Tap("1", side="input")])
    recorder.probe(x)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(x), model(x))
        assert torch.equal(recorder.run(x)[1][Tap("0")], model[0](x))
        with torch.no_grad():
            other[0].weight.zero_()
        assert model[0].weight.abs().max() > 0


def test_a_copied_recorder_reads_the_copied_model():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True)), torch.randn(2, 3)
    recorder = Recorder(model, [Tap("0")])
    recorder.probe(x)
    model_copy, copied = copy.deepcopy((model, recorder))
    twin = recorder.twin()
    with torch.no_grad():
        model_copy[0].weight.mul_(2)
    assert torch.equal(copied.run(x)[1][Tap("0")], model_copy[0](x))
    assert torch.equal(recorder.run(x)[1][Tap("0")], model[0](x))
    copied.remove()
    assert not model_copy[0]._forward_hooks
    recorder.remove()
    assert torch.equal(twin.run(x)[1][Tap("0")], model[0](x))
    twin.remove()
    assert not model[0]._forward_hooks


def test_inference_mode_is_no_obstacle():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), torch.randn(2, 3)
    recorder = Recorder(model, [Tap("0")])
    recorder.probe(x)
    with torch.inference_mode():
        assert torch.equal(recorder.run(x)[1][Tap("0")], model[0](x))


class Twice(nn.Module):
    """Normalises and overwrites the result, as residual networks do."""

    def __init__(self):
        super().__init__()
        self.norm, self.act = nn.BatchNorm2d(3), nn.ReLU(inplace=True)

    def forward(self, x):
        return self.act(self.norm(x))


@pytest.mark.parametrize("how", ["wrapped", "in place"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_gives_the_features_of_the_plain_one(how, backend):
    torch._dynamo.reset()
    model, x = Twice().eval(), torch.randn(2, 3, 4, 5)
    expected = model.norm(x)
    assert expected.min() < 0
    if how == "wrapped":
        compiled = torch.compile(model, backend=backend)
    else:
        compiled = model
        compiled.compile(backend=backend)
    assert torch.equal(seen(compiled, "norm", x), expected)


def test_a_model_compiled_and_run_before_says_what_to_do():
    torch._dynamo.reset()
    model, x = Twice().eval(), torch.randn(2, 3, 4, 5)
    compiled = torch.compile(model, backend="eager")
    compiled(x)
    recorder = Recorder(compiled, [Tap("norm")])
    assert recorder.probe(x)[Tap("norm")].shape == x.shape
    with pytest.raises(TapError, match="sees no taps: make the distiller first"):
        recorder.run(x)
