import pickle
from pathlib import Path

import pytest
import runs
import torch
from safetensors.torch import save_file
from torch import nn

from anyteacher.errors import TeacherError
from anyteacher.weights import fingerprint, load_weights, weights_of


def model(width=5):
    return nn.Sequential(nn.Conv2d(3, width, 1), nn.BatchNorm2d(width), nn.Conv2d(width, 2, 1))


def same(a, b):
    state = b.state_dict()
    return all(torch.equal(value, state[key]) for key, value in a.state_dict().items())


WRAPPED = {
    "plain": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model": lambda s: {"model": s, "optimizer": {"lr": 0.1}},
    "twice": lambda s: {"model": {"state_dict": s}},
    "data parallel": lambda s: {f"module.{k}": v for k, v in s.items()},
    "compiled": lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
    "a run of this library": lambda s: {
        "state_dict": {f"distiller.student.{k}": v for k, v in s.items()}
        | {"distiller.connections.0.projector.linear.weight": torch.zeros(2)}
    },
    "other entries": lambda s: {**s, "epoch": 3, "note": "text", 7: torch.zeros(1)},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_weights_are_found_in_common_checkpoints(name, tmp_path):
    source, target = model(), model()
    torch.save(WRAPPED[name](source.state_dict()), tmp_path / "weights.pt")
    assert not same(source, target)
    load_weights(target, tmp_path / "weights.pt")
    assert same(source, target)


def test_safetensors(tmp_path):
    source, target = model(), model()
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    load_weights(target, str(tmp_path / "weights.safetensors"))
    assert same(source, target)


def test_what_layers_share_is_written_for_each_and_shared_again(tmp_path):
    source, target = runs.Tied(), runs.Tied()
    source.head.weight.data = torch.randn(64, 10).T  # not contiguous
    save_file(weights_of(source), tmp_path / "weights.safetensors")
    load_weights(target, tmp_path / "weights.safetensors")
    assert same(source, target)
    assert target.again.weight is target.first.weight
    weights_of(source)["head.bias"].zero_()
    assert source.head.bias.abs().max() > 0


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(TeacherError, match=r"no checkpoint at '.*gone.pt'. Give the path"):
        load_weights(model(), tmp_path / "gone.pt")
    with pytest.raises(TeacherError, match=r"is a folder, .*path of a checkpoint"):
        load_weights(model(), tmp_path)


def test_counted_batches_may_be_missing_or_too_many(tmp_path):
    """Old checkpoints of torch have none, and frozen normalisations take none."""
    source, target = model(), model()
    old = {k: v for k, v in source.state_dict().items() if "num_batches" not in k}
    torch.save(old, tmp_path / "old.pt")
    load_weights(target, tmp_path / "old.pt")
    assert same(source, target)
    torch.save({**source.state_dict(), "2.num_batches_tracked": torch.tensor(3)}, tmp_path / "a.pt")
    load_weights(model(), tmp_path / "a.pt")


def test_a_further_prefix_may_be_named(tmp_path):
    source, target = model(), model()
    state = {f"vit.{key}": value for key, value in source.state_dict().items()}
    torch.save({**state, "classifier.weight": torch.zeros(2)}, tmp_path / "whole.pt")
    with pytest.raises(TeacherError, match="of another model"):
        load_weights(target, tmp_path / "whole.pt")
    load_weights(target, tmp_path / "whole.pt", prefixes=["vit."])
    assert same(source, target)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut(suffix, share, tmp_path):
    path = tmp_path / f"weights.{suffix}"
    source = model(100)
    (save_file if suffix == "safetensors" else torch.save)(source.state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    target = model(100)
    before = fingerprint(target)
    with pytest.raises(TeacherError, match=r"weights\.\w+' (is not a readable|cannot be read as)"):
        load_weights(target, path)
    assert fingerprint(target) == before


class Malicious:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return Path.touch, (Path(self.marker),)


@pytest.mark.parametrize("save", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x, 2))])
def test_code_in_a_checkpoint_does_not_run(save, tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "weights.pt"
    save({"state_dict": model().state_dict(), "extra": Malicious(marker)}, path)
    with pytest.raises(TeacherError, match=r"would run code when opened, which is refused"):
        load_weights(model(), path)
    assert not marker.exists()
    torch.load(path, weights_only=False) if save is torch.save else pickle.loads(path.read_bytes())
    assert marker.exists()  # it would have


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: model(6), r"of another shape \(0.weight \(6, 3, 1, 1\) for \(5, 3, 1, 1\)"),
        (lambda: nn.Linear(2, 2), r"8 keys missing \(0.weight, .*\); 2 keys unexpected"),
        (lambda: model()[:2], r"2 keys missing \(2.weight, 2.bias\)\. Build"),
        (lambda: nn.Sequential(*model(), nn.Linear(1, 1)), r"Sequential: 2 keys unexpected"),
    ],
)
def test_weights_of_another_model(other, message, tmp_path):
    torch.save(other().state_dict(), tmp_path / "weights.pt")
    target = model()
    before = fingerprint(target)
    with pytest.raises(TeacherError, match=message):
        load_weights(target, tmp_path / "weights.pt")
    assert fingerprint(target) == before


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.zeros(2), {"state_dict": {}}])
def test_a_file_without_a_state_dict(content, tmp_path):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(TeacherError, match=r"holds a .* and no state dict"):
        load_weights(model(), tmp_path / "weights.pt")


def test_the_fingerprint_tells_values_names_types_and_shapes_apart():
    base = model()
    prints = [fingerprint(base)]
    assert fingerprint(base) == prints[0]
    with torch.no_grad():
        base[2].bias[0] += 1e-6
    prints.append(fingerprint(base))
    base[1].running_mean[0] += 1
    prints.append(fingerprint(base))
    base.bfloat16()
    prints.append(fingerprint(base))
    prints.append(fingerprint(nn.Sequential(*base)[:2]))
    prints.append(fingerprint(nn.ReLU()))
    assert len(set(prints)) == len(prints)
    assert fingerprint(nn.Tanh()) == prints[-1]


def test_the_fingerprint_does_not_depend_on_the_memory_format():
    a = nn.Conv2d(4, 4, 3)
    before = fingerprint(a)
    assert fingerprint(a.to(memory_format=torch.channels_last)) == before
