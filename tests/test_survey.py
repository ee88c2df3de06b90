import pytest
import torch
from torch import nn

from anyteacher.errors import require
from anyteacher.models import ConvNet, EncoderDecoder
from anyteacher.recorder import Recorder
from anyteacher.survey import Candidate, suggest, survey
from anyteacher.taps import Tap

SIZE = (64, 96)


def layers(model, size=SIZE, channels=3):
    return survey(model.eval(), torch.rand(2, channels, *size))


def timm(name, **settings):
    return require("timm").create_model(name, pretrained=False, **settings)


def by_path(candidates):
    return {candidate.path: candidate for candidate in candidates}


def test_resnet():
    found = by_path(layers(timm("resnet18")))
    assert [found[f"layer{i}"].stride for i in (1, 2, 3, 4)] == [4, 8, 16, 32]
    assert found["layer4"].shape == (512, 2, 3)
    assert "layer1.0" in found
    assert not [path for path in found if "bn" in path or path.count(".") > 1]


def test_vision_transformer():
    model = timm("vit_tiny_patch16_224", img_size=SIZE, depth=3)
    found = by_path(layers(model))
    assert [path for path in found if "blocks" in path] == ["blocks.0", "blocks.1", "blocks.2"]
    blocks = found["blocks.2"]
    assert (blocks.kind, blocks.grid, blocks.stride, blocks.channels) == ("tokens", (4, 6), 16, 192)
    assert not [path for path in found if "attn" in path or "mlp" in path]


def test_swin():
    model = timm("swin_tiny_patch4_window7_224", img_size=64, window_size=2, embed_dim=24)
    found = by_path(layers(model, (64, 64)))
    assert [found[p].stride for p in ("layers.0", "layers.1", "layers.2", "layers.3")] == [
        4,
        8,
        16,
        32,
    ]
    assert found["layers.0"].kind == "channels_last"


def test_convnext():
    found = by_path(layers(timm("convnext_atto")))
    paths = ("stages.0", "stages.1", "stages.2", "stages.3")
    assert [found[path].stride for path in paths] == [4, 8, 16, 32]


def test_transformers():
    transformers = require("transformers")
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32], decoder_hidden_size=16
    )
    found = layers(transformers.SegformerModel(config))
    assert {4.0, 8.0, 16.0, 32.0} <= {candidate.stride for candidate in found}


def test_the_small_models():
    found = by_path(layers(EncoderDecoder(1)))
    assert [found[f"encoder.{i}"].stride for i in range(4)] == [2, 4, 8, 16]
    assert {"decoder.0", "decoder.2", "head"} <= set(found)
    assert not [path for path in found if path.count(".") > 1]
    digits = by_path(layers(ConvNet(10), (8, 8), 1))
    assert {"stages.0", "stages.1", "stages.2", "pool", "head"} <= set(digits)
    assert digits["pool"].kind == "vector"
    assert digits["pool"].grid is digits["pool"].stride is None


def test_every_candidate_can_be_tapped():
    model = EncoderDecoder(1).eval()
    for candidate in layers(model):
        recorder = Recorder(model, [Tap(candidate.path)])
        feature = recorder.probe(torch.rand(2, 3, *SIZE))[Tap(candidate.path)]
        assert tuple(feature.shape[1:]) == candidate.shape
        recorder.remove()


def test_no_hook_stays_behind_even_after_an_error():
    model = EncoderDecoder(1).eval()
    with pytest.raises(RuntimeError):
        survey(model, torch.rand(2, 5, *SIZE))
    assert not any(module._forward_hooks for module in model.modules())


def test_layers_that_pass_on_are_left_out():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Identity(), nn.ReLU(inplace=True), nn.Dropout())
    assert [candidate.path for candidate in layers(model)] == ["2"]


@pytest.mark.parametrize(
    "teacher",
    [
        lambda: timm("resnet18"),
        lambda: timm("convnext_atto"),
    ],
    ids=["resnet", "convnext"],
)
def test_suggested_pairs_have_the_nearest_strides(teacher):
    mine, theirs = layers(EncoderDecoder(1)), layers(teacher())
    pairs = suggest(mine, theirs)
    assert [pair[0].path for pair in pairs] == ["encoder.3", "encoder.2", "encoder.1"]
    strides = {candidate.stride for candidate in theirs if candidate.grid}
    for student, found in pairs:
        ratio = max(student.stride / found.stride, found.stride / student.stride)
        best = min(max(student.stride / s, s / student.stride) for s in strides)
        assert ratio == pytest.approx(best)


def test_stages_of_equal_strides_are_paired():
    pairs = suggest(layers(timm("resnet18")), layers(timm("convnext_atto")))
    found = [(student.path, teacher.path) for student, teacher in pairs]
    assert found == [("layer4", "stages.3"), ("layer3", "stages.2"), ("layer2", "stages.1")]


def test_blocks_of_one_grid_are_paired_by_depth():
    blocks = layers(timm("vit_tiny_patch16_224", img_size=SIZE, depth=6))
    stages = layers(timm("resnet18"))
    pairs = [(student.path, teacher.path) for student, teacher in suggest(stages, blocks)]
    assert pairs == [("layer4", "blocks.5"), ("layer3", "blocks.3"), ("layer2", "blocks.1")]
    pairs = [(student.path, teacher.path) for student, teacher in suggest(blocks, stages)]
    assert pairs == [("blocks.5", "layer4"), ("blocks.3", "layer3"), ("blocks.1", "layer2")]
    pairs = [(student.path, teacher.path) for student, teacher in suggest(blocks, blocks)]
    assert pairs == [("blocks.5", "blocks.5"), ("blocks.3", "blocks.3"), ("blocks.1", "blocks.1")]


def test_a_stem_of_blocks_is_no_sibling_of_the_stages():
    found = by_path(layers(timm("efficientformerv2_s0"), (224, 224)))
    assert "stages.3" in found
    assert "stages" not in found


def test_a_single_block_has_a_single_pair():
    one = layers(timm("vit_tiny_patch16_224", img_size=SIZE, depth=1))
    assert len(suggest(one, layers(timm("resnet18")))) == 1


def vector(path):
    return Candidate(path, "vector", (8,), 8, None, None, 1)


def test_without_positions_the_last_layers_before_the_head():
    found = suggest([vector("a"), vector("b"), vector("head")], [vector("x"), vector("y")])
    assert [(s.path, t.path) for s, t in found] == [("b", "x")]
    assert suggest([], [vector("x")]) == []


class Block(nn.Module):
    def __init__(self, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, stride, padding=1)

    def forward(self, x):
        return self.conv(x)


class Encoder(nn.Module):
    """A model inside a model: blocks in a list, and its own forward."""

    def __init__(self, strides=(2, 1, 1)):
        super().__init__()
        self.layer = nn.ModuleList(Block(stride) for stride in strides)

    def forward(self, x):
        for block in self.layer:
            x = block(x)
        return x


class Outer(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x):
        for part in self.children():
            x = part(x)
        return x


def test_a_model_inside_the_model_is_looked_into():
    found = [c.path for c in layers(Outer(encoder=Encoder(), head=nn.Conv2d(3, 2, 1)))]
    assert found == ["encoder.layer.0", "encoder.layer.1", "encoder.layer.2", "head"]
    wrapped = Outer(backbone=Outer(encoder=Encoder()))
    assert [c.path for c in layers(wrapped)][-1] == "backbone.encoder.layer.2"
    pairs = suggest(layers(wrapped), layers(wrapped))
    assert [mine.path[-1] for mine, _ in pairs] == ["2", "1", "0"]


def test_two_alike_are_stages_and_not_looked_into():
    stages = Outer(stage1=Encoder(), stage2=Encoder(), head=nn.Conv2d(3, 2, 1))
    assert [c.path for c in layers(stages)] == ["stage1", "stage2", "head"]


def test_of_a_list_of_stages_the_last_stage_is_named():
    stages = [nn.Sequential(Block(2), Block()) for _ in range(3)]
    found = [c.path for c in layers(Outer(features=nn.Sequential(*stages)))]
    assert "features" not in found
    assert found[-1] == "features.2"


def test_a_number_a_pixel_or_token_is_no_feature():
    class Flat(nn.Module):
        def forward(self, x):
            return x[:, 0]

    class Mean(nn.Module):
        def forward(self, x):
            return x.flatten(2).mean(1)[:, :, None]

    assert [c.path for c in layers(Outer(conv=Block(), flat=Flat()))] == ["conv"]
    assert [c.path for c in layers(Outer(conv=Block(), mean=Mean()))] == ["conv"]


def test_blocks_are_chosen_before_a_larger_embedding():
    wide = nn.Sequential(nn.Conv2d(3, 3, 31, 2, padding=15))  # more parameters than all blocks
    found = layers(Outer(embed=wide, encoder=Encoder((1, 1, 1, 1))))
    assert [mine.path for mine, _ in suggest(found, found)] == [
        "encoder.layer.3",
        "encoder.layer.1",
        "encoder.layer.0",
    ]
