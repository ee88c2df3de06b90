"""Pairs of real architectures, with random weights: each must distil in both directions."""

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
import transformers

import anyteacher as at

SIZE = (64, 96)  # not square


def vit_registers():
    """As DINOv2: patches of 14, a class token and four registers."""
    return timm.create_model(
        "vit_tiny_patch16_224", patch_size=14, reg_tokens=4, depth=2, dynamic_img_size=True
    )


def dinov2_registers():
    config = transformers.Dinov2WithRegistersConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=70, patch_size=14
    )
    return transformers.Dinov2WithRegistersModel(config)


def segformer():
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32], decoder_hidden_size=16
    )
    return transformers.SegformerForSemanticSegmentation(config)


def dpt():
    config = transformers.DPTConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 16, 24, 32],
        fusion_hidden_size=16,
        auxiliary_loss_weight=0.0,
    )
    return transformers.DPTForDepthEstimation(config)


def vit():
    return timm.create_model("vit_tiny_patch16_224", img_size=SIZE, depth=2)


def convnext():
    return timm.create_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))


def swin():
    return timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=SIZE, depths=(1, 1, 1, 1), embed_dim=24
    )


def resnet():
    return torchvision.models.resnet18()


def mobilenet():
    return torchvision.models.mobilenet_v3_small()


def unet():
    return smp.Unet("resnet18", encoder_weights=None, decoder_channels=(32, 16, 8, 8, 4))


# The student and its tap, the teacher and its tap and settings, the channels and the grid of each.
PAIRS = {
    "resnet < vit": (resnet, "layer4", vit, "blocks.1", {}, (512, 192), ("map", "tokens")),
    "resnet < swin": (
        resnet,
        "layer3",
        swin,
        "layers.2",
        {},
        (256, 96),
        ("map", "channels_last"),
    ),
    "resnet < convnext": (resnet, "layer4", convnext, "stages.3", {}, (512, 32), ("map", "map")),
    "resnet < vit with registers": (
        resnet,
        "layer3",
        vit_registers,
        "blocks.1",
        {"size": (70, 98)},
        (256, 192),
        ("map", "tokens"),
    ),
    "resnet < dinov2 with registers": (
        resnet,
        "layer3",
        dinov2_registers,
        "[last_hidden_state]",
        {"size": (70, 98)},
        (256, 32),
        ("map", "tokens"),
    ),
    "vit < resnet": (vit, "blocks.0", resnet, "layer3", {}, (192, 256), ("tokens", "map")),
    "mobilenet < segformer": (
        mobilenet,
        "features.8",
        segformer,
        "decode_head.linear_fuse",
        {},
        (48, 16),
        ("map", "map"),
    ),
    "mobilenet < dpt": (
        mobilenet,
        "features.12",
        dpt,
        "neck[0]",
        {"size": (64, 64)},
        (576, 16),
        ("map", "map"),
    ),
    "unet < vit": (unet, "encoder.layer4", vit, "norm", {}, (512, 192), ("map", "tokens")),
    "unet's decoder < vit": (
        unet,
        "decoder.blocks.0",
        vit,
        "blocks.0",
        {},
        (32, 192),
        ("map", "tokens"),
    ),
}


@pytest.mark.parametrize("direction", ["inverted", "traditional"])
@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_distils(name, direction):
    make_student, student_tap, make_teacher, teacher_tap, settings, widths, kinds = PAIRS[name]
    images = torch.rand(2, 3, *SIZE)
    teacher = at.teachers.Random(make_teacher, norm=at.IMAGENET, **settings).calibrate([images])
    student = make_student()
    keys = list(student.state_dict())
    link = at.Link(student_tap, teacher_tap, direction=direction, name="link")
    distiller = at.Distiller(student, teacher, [link], example=images, images_norm=at.ImageNorm())
    connection = distiller.connections[0]
    (level,) = connection.levels
    assert (level.student.kind, level.teacher.kind) == kinds
    assert level.teacher.prefix == {"registers": 5, "vit": 1}.get(name.split()[-1], 0)
    before, after = widths if direction == "traditional" else widths[::-1]
    assert (connection.projector.in_features, connection.projector.out_features) == (before, after)
    distiller.train()
    out = distiller(images)
    assert out.total.isfinite()
    assert out.total > 0
    out.total.backward()
    for parameter in connection.projector.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0
    learned = [p.grad for p in student.parameters() if p.grad is not None]
    assert learned
    assert all(grad.isfinite().all() for grad in learned)
    assert max(grad.abs().max() for grad in learned) > 0
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert list(distiller.release().state_dict()) == keys
