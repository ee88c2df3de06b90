"""Where teachers come from: what has to be installed, where taps usually are, how to write one."""

import importlib.util
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from inspect import cleandoc

import torch


@dataclass(frozen=True)
class Kind:
    """One source of teachers.

    Attributes:
        title: The library, or what kind of file it is.
        name: The class of `anyteacher` that makes such teachers.
        package: What has to be installed; empty for torch alone.
        module: How it is imported.
        extra: Of anyteacher, that brings it.
        taps: Where the taps usually are.
        written: How `anyteacher taps` is told of one.
        example: The part of a configuration.
    """

    title: str
    name: str
    package: str
    module: str
    extra: str
    taps: str
    written: str
    example: str

    def version(self) -> str:
        """The version that is installed; empty where none is."""
        if not self.package:
            return f"torch {torch.__version__}"
        if importlib.util.find_spec(self.module) is None:
            return ""
        try:
            return f"{self.package} {version(self.package)}"
        except PackageNotFoundError:
            return self.package  # importable, and not from a package index


KINDS = (
    Kind(
        "timm",
        "Timm",
        "timm",
        "timm",
        "timm",
        "ViT, DINOv2, DINOv3: blocks.11; ConvNeXt: stages.2; ResNet: layer3; Swin: layers.2",
        "timm:vit_small_patch14_dinov2",
        cleandoc("""
            teacher:
              class_path: anyteacher.teachers.Timm
              init_args: {name: vit_small_patch14_dinov2.lvd142m, settings: {img_size: 224}}
            distillation:
              links:
                - {student: encoder.3, teacher: blocks.11}
        """),
    ),
    Kind(
        "torchvision",
        "Torchvision",
        "torchvision",
        "torchvision",
        "torchvision",
        "ResNet: layer3; ConvNeXt, Swin: features.5; ViT: encoder.layers.encoder_layer_11; "
        "DeepLab: backbone.layer4",
        "torchvision:convnext_tiny",
        cleandoc("""
            teacher:
              class_path: anyteacher.teachers.Torchvision
              init_args: {name: convnext_tiny}
            distillation:
              links:
                - {student: encoder.3, teacher: features.5}
        """),
    ),
    Kind(
        "transformers",
        "Transformers",
        "transformers",
        "transformers",
        "transformers",
        "DINOv2: encoder.layer.11; SegFormer: stages.3; Swin: encoder.layers.3.blocks.1; depth: "
        "backbone.encoder.layer.11 or neck.fusion_stage.layers.3 (names differ between versions)",
        "transformers:FOLDER:AutoModelForDepthEstimation",
        cleandoc("""
            teacher:
              class_path: anyteacher.teachers.Transformers
              init_args:
                name: depth-anything/Depth-Anything-V2-Small-hf
                auto_class: AutoModelForDepthEstimation
            distillation:
              links:
                - {student: encoder.3, teacher: backbone.encoder.layer.11}
        """),
    ),
    Kind(
        "segmentation_models_pytorch",
        "SegmentationModels",
        "segmentation-models-pytorch",
        "segmentation_models_pytorch",
        "smp",
        "ResNet encoders: encoder.layer3; of timm (tu-): encoder.model.…; decoder.blocks.0",
        "smp:unet:resnet34",
        cleandoc("""
            teacher:
              class_path: anyteacher.teachers.SegmentationModels
              init_args: {name: unet, encoder: resnet34}
            distillation:
              links:
                - {student: encoder.3, teacher: encoder.layer3}
        """),
    ),
    Kind(
        "a program of torch.export (.pt2)",
        "Exported",
        "",
        "torch",
        "",
        "where they are in the model that was exported",
        "exported:FILE",
        cleandoc("""
            teacher:
              class_path: anyteacher.teachers.Exported
              init_args:
                path: teacher.pt2
                norm: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
            distillation:
              links:
                - {student: encoder.3, teacher: layer3}
        """),
    ),
    Kind(
        "a TorchScript file",
        "TorchScript",
        "",
        "torch",
        "",
        "its output alone: output, or an item of it such as output[0] or output[name]",
        "torchscript:FILE",
        cleandoc("""
            teacher:
              class_path: anyteacher.teachers.TorchScript
              init_args: {path: teacher.pt, norm: {mean: [0.5], std: [0.5]}}
            distillation:
              links:
                - {student: head, teacher: "output[0]"}
        """),
    ),
    Kind(
        "any module, by its import path",
        "Teacher",
        "",
        "torch",
        "",
        "any path of model.named_modules()",
        "'my_package.MyModel(width=24)'",
        cleandoc("""
            teacher:
              class_path: anyteacher.teacher.Teacher
              init_args:
                model: {class_path: anyteacher.models.EncoderDecoder, init_args: {out_channels: 7}}
                weights: teacher.safetensors
            distillation:
              links:
                - {student: encoder.3, teacher: encoder.3}
        """),
    ),
    Kind(
        "an untrained module",
        "Random",
        "",
        "torch",
        "",
        "as of the module; timm, torchvision and transformers take weights: random, too",
        "'my_package.MyModel(width=24)'",
        cleandoc("""
            teacher:
              class_path: anyteacher.teachers.Random
              init_args:
                build: {class_path: anyteacher.models.EncoderDecoder, init_args: {out_channels: 7}}
            distillation:
              links:
                - {student: encoder.3, teacher: encoder.3, compare: pooled}
        """),
    ),
)
