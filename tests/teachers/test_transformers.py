import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file

import anyteacher as at
from anyteacher.errors import TeacherError
from anyteacher.layout import detect
from anyteacher.normalization import IMAGENET, ImageNorm
from anyteacher.survey import suggest, survey
from anyteacher.teachers import Transformers
from anyteacher.teachers.transformers import _size_in

BLOCKS = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "image_size": 64,
    "patch_size": 16,
}
STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
SWIN = {
    "embed_dim": 8,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 2, 2, 4],
    "window_size": 2,
    "image_size": 64,
}
DINOV2 = {"model_type": "dinov2", **BLOCKS, "patch_size": 14, "image_size": 56}
SEGFORMER = {
    **STAGES,
    "model_type": "segformer",
    "num_attention_heads": [1, 1, 1, 1],
    "decoder_hidden_size": 16,
}
NECK = {"neck_hidden_sizes": [8, 8, 16, 16], "fusion_hidden_size": 8}

# Of each kind: the class, the configuration, one size of images that it takes, and the taps that
# are proposed for a ResNet's last three stages, with layout, leading tokens and stride.
BLOCK_TAPS = [("layers.2", 16), ("layers.1", 16), ("layers.0", 16)]
SWIN_TAPS = [("layers.3.blocks.0", 32), ("layers.2.blocks.0", 16), ("layers.1.blocks.0", 8)]
CASES = {
    "vit": ("AutoModel", {"model_type": "vit", **BLOCKS}, (64, 64), "tokens", 1, BLOCK_TAPS),
    "swin": ("AutoModel", {"model_type": "swin", **SWIN}, (64, 96), "tokens", 0, SWIN_TAPS),
    "swin backbone": (
        "AutoBackbone",
        {"model_type": "swin", **SWIN, "out_features": ["stage1", "stage4"]},
        (64, 96),
        "tokens",
        0,
        SWIN_TAPS,
    ),
    "dinov2": (
        "AutoModel",
        DINOV2,
        (56, 84),
        "tokens",
        1,
        [("layer.2", 14), ("layer.1", 14), ("layer.0", 14)],
    ),
    "dinov2 with registers": (
        "AutoBackbone",
        {**DINOV2, "model_type": "dinov2_with_registers"},
        (56, 84),
        "tokens",
        5,
        [("layer.2", 14), ("layer.1", 14), ("layer.0", 14)],
    ),
    "dinov3": (
        "AutoModel",
        {"model_type": "dinov3_vit", **BLOCKS, "num_register_tokens": 4},
        (64, 96),
        "tokens",
        5,
        [("layer.2", 16), ("layer.1", 16), ("layer.0", 16)],
    ),
    "dinov3 convnext": (
        "AutoModel",
        {"model_type": "dinov3_convnext", **STAGES},
        (64, 96),
        "map",
        0,
        [("stages.3", 32), ("stages.2", 16), ("stages.1", 8)],
    ),
    "segformer": (
        "AutoModelForSemanticSegmentation",
        SEGFORMER,
        (64, 96),
        "map",
        0,
        [("stages.3", 32), ("stages.2", 16), ("stages.1", 8)],
    ),
    "dpt": (
        "AutoModelForDepthEstimation",
        {
            "model_type": "dpt",
            **BLOCKS,
            **NECK,
            "num_hidden_layers": 4,
            "backbone_out_indices": [0, 1, 2, 3],
        },
        (64, 64),
        "map",
        0,
        [("reassemble_stage.layers.3", 32), ("dpt.embeddings", 16), ("fusion_stage.layers.1", 8)],
    ),
    "depth anything": (
        "AutoModelForDepthEstimation",
        {
            "model_type": "depth_anything",
            "backbone_config": {
                **DINOV2,
                "num_hidden_layers": 4,
                "out_indices": [1, 2, 3, 4],
                "reshape_hidden_states": False,
            },
            **NECK,
            "reassemble_hidden_size": 16,
            "head_hidden_size": 8,
        },
        (56, 84),
        "map",
        0,
        [
            ("reassemble_stage.layers.3", 28),
            ("backbone.encoder.layer.3", 14),
            ("fusion_stage.layers.1", 7),
        ],
    ),
    "mask2former": (
        "AutoModelForUniversalSegmentation",
        {
            "model_type": "mask2former",
            "backbone_config": {
                "model_type": "swin",
                **SWIN,
                "out_features": ["stage1", "stage2", "stage3", "stage4"],
            },
            "feature_size": 32,
            "mask_feature_size": 32,
            "hidden_dim": 32,
            "encoder_feedforward_dim": 16,
            "dim_feedforward": 16,
            "num_attention_heads": 2,
            "encoder_layers": 1,
            "decoder_layers": 2,
            "num_queries": 5,
        },
        (64, 96),
        "tokens",
        0,
        SWIN_TAPS,
    ),
    "clip": (
        "AutoModel",
        {"model_type": "clip_vision_model", **BLOCKS},
        (64, 64),
        "tokens",
        1,
        BLOCK_TAPS,
    ),
    "siglip": (
        "AutoModel",
        {"model_type": "siglip_vision_model", **BLOCKS},
        (64, 64),
        "tokens",
        0,
        BLOCK_TAPS,
    ),
}


def made(name):
    auto_class, config = CASES[name][:2]
    return Transformers("any", weights="random", config=config, auto_class=auto_class)


@pytest.fixture(scope="module")
def student():
    return survey(timm.create_model("resnet10t").eval(), torch.rand(2, 3, 64, 96))


@pytest.mark.parametrize("name", CASES)
def test_its_taps_are_proposed_with_their_layouts(name, student):
    size, kind, prefix, taps = CASES[name][2:]
    teacher = made(name)
    found = survey(teacher.model, teacher.prepare(torch.rand(2, 3, *size)))
    proposed = [theirs for _, theirs in suggest(student, found)]
    assert len(proposed) == len(taps)
    for candidate, (ending, stride) in zip(proposed, taps, strict=True):
        assert f".{candidate.path}".endswith(f".{ending}")
        assert candidate.stride == stride
    deepest = proposed[0]
    assert deepest.kind == kind
    assert deepest.grid == (size[0] // taps[0][1], size[1] // taps[0][1])
    layout = detect((2, *deepest.shape), size)
    assert layout.prefix == prefix


@pytest.mark.parametrize("name", CASES)
def test_a_student_learns_from_it(name):
    size, taps = CASES[name][2], CASES[name][5]
    teacher = made(name)
    if not teacher.calibrated:
        teacher.calibrate([torch.rand(2, 3, *size)])
    paths = [path for path, _ in teacher.model.named_modules()]
    (path,) = [path for path in paths if f".{path}".endswith(f".{taps[0][0]}")]
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3, 16))
    distiller = at.Distiller(
        net, teacher, [at.Link("0", path)], example=torch.rand(2, 3, *size), seed=0
    )
    images = torch.rand(2, 3, *size)
    out = distiller(images)
    out.total.backward()
    assert out.total > 0
    assert net[0].weight.grad.abs().sum() > 0


def test_models_of_one_size_have_it():
    sizes = {name: made(name).size for name in CASES}
    fixed = {"vit", "clip", "siglip"}
    assert {name for name, size in sizes.items() if size is not None} == fixed
    assert {sizes[name] for name in fixed} == {(64, 64)}
    assert made("vit")(torch.rand(1, 3, 20, 30)).last_hidden_state.shape == (1, 17, 16)


def local(tmp_path, processor, model=None):
    model = model or transformers.ViTModel(transformers.ViTConfig(**BLOCKS))
    model.save_pretrained(tmp_path)
    if processor is not None:
        processor.save_pretrained(tmp_path)
    return model


def test_a_local_folder_has_weights_and_preprocessing(tmp_path):
    processor = transformers.ViTImageProcessor(
        image_mean=[0.1, 0.2, 0.3],
        image_std=[0.4, 0.5, 0.6],
        size={"height": 96, "width": 80},
    )
    model = local(tmp_path, processor)
    mine = Transformers(str(tmp_path))
    assert mine.norm == ImageNorm((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (mine.size, mine.trained_at, mine.order) == ((64, 64), (96, 80), "rgb")
    theirs = model.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in mine.model.state_dict().items())
    again = Transformers(str(tmp_path), weights="random", seed=1)
    assert again.fingerprint() != mine.fingerprint()
    assert again(torch.rand(2, 3, 8, 8)).last_hidden_state.shape == (2, 17, 16)


PROCESSORS = {
    "vit": transformers.ViTImageProcessor,
    "clip": transformers.CLIPImageProcessor,
    "segformer": transformers.SegformerImageProcessor,
    "mobilevit": transformers.MobileViTImageProcessor,  # blue first, in [0, 1]
    "bytes": lambda: transformers.ViTImageProcessor(do_rescale=False, image_mean=[9, 8, 7]),
    "efficientnet": transformers.EfficientNetImageProcessor,  # divides by std a second time
    "efficientnet, top alone": lambda: transformers.EfficientNetImageProcessor(do_normalize=False),
    "efficientnet, offset": lambda: transformers.EfficientNetImageProcessor(
        rescale_offset=True, rescale_factor=1 / 127.5, include_top=False
    ),
    "plain": lambda: transformers.ViTImageProcessor(do_normalize=False, rescale_factor=1 / 127.5),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_images_are_prepared_as_the_image_processor_does(name, tmp_path):
    processor = PROCESSORS[name]()
    local(tmp_path, processor)
    teacher = Transformers(str(tmp_path), size=(64, 64))
    pixels = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    asked = {"do_resize": False, "do_center_crop": False, "return_tensors": "pt"}
    expected = processor(pixels, **asked)["pixel_values"]
    prepared = teacher.prepare(pixels[None] / 255)
    torch.testing.assert_close(prepared, expected.float(), rtol=1e-4, atol=1e-4)


def test_the_size_that_was_trained_at():
    read = {name: _size_in(make()) for name, make in PROCESSORS.items()}
    assert read["clip"] == read["vit"] == (224, 224)
    assert read["segformer"] == (512, 512)
    assert read["mobilevit"] == (256, 256)
    assert _size_in(transformers.Mask2FormerImageProcessor()) is None  # its shorter side


def test_without_an_image_processor_the_normalisation_is_asked_for(tmp_path):
    local(tmp_path, None)
    with pytest.raises(TeacherError, match=r"wants its images could not be had .*norm=ImageNorm\("):
        Transformers(str(tmp_path))
    assert Transformers(str(tmp_path), norm=IMAGENET).norm == IMAGENET


def test_of_texts_and_images_the_tower_of_images_is_taken(tmp_path):
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9}
    config = transformers.CLIPConfig(text_config=text, vision_config=BLOCKS, projection_dim=8)
    model = local(tmp_path, transformers.CLIPImageProcessor(), transformers.CLIPModel(config))
    teacher = Transformers(str(tmp_path))
    images = torch.rand(2, 3, 64, 64)
    expected = model.eval().vision_model(teacher.prepare(images)).last_hidden_state
    torch.testing.assert_close(teacher(images).last_hidden_state, expected.detach())
    # A checkpoint of both is a checkpoint of the tower.
    torch.save(model.state_dict(), tmp_path / "both.pt")
    again = Transformers(str(tmp_path), weights=tmp_path / "both.pt")
    assert again.fingerprint() == teacher.fingerprint()
    # And so is the tower's own class.
    alone = Transformers(str(tmp_path), auto_class="CLIPVisionModel", weights="random")
    assert alone.model.config.hidden_size == 16


def test_a_checkpoint_of_the_same_body_under_a_head(tmp_path):
    """As the library writes it: with the body's name before its keys, and without a pooler."""
    config = transformers.ViTConfig(**BLOCKS)
    source = transformers.ViTForImageClassification(config).eval()
    source.save_pretrained(tmp_path)
    teacher = Transformers("any", config=config, weights=tmp_path / "model.safetensors")
    theirs = {key: value for key, value in source.vit.state_dict().items() if "pooler" not in key}
    mine = teacher.model.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(value, mine[key]) for key, value in theirs.items())
    # The names that they had in other versions are translated, and no weights left out.
    state = load_file(tmp_path / "model.safetensors")
    assert "vit.encoder.layer.0.layernorm_before.bias" in state
    del state["vit.encoder.layer.0.layernorm_before.bias"]
    save_file(state, tmp_path / "less.safetensors")
    with pytest.raises(TeacherError, match="of another model than this ViTModel"):
        Transformers("any", config=config, weights=tmp_path / "less.safetensors")
    other = transformers.ViTConfig(**{**BLOCKS, "image_size": 32})
    with pytest.raises(TeacherError, match="of another model than this ViTModel"):
        Transformers("any", config=other, weights=tmp_path / "model.safetensors")
    images = torch.rand(2, 3, 64, 64)
    expected = source.vit(teacher.prepare(images)).last_hidden_state
    torch.testing.assert_close(teacher(images).last_hidden_state, expected.detach())


def test_a_pooler_without_weights_stays_beside_a_file_without_it(tmp_path):
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
    )
    source = transformers.ResNetModel(config).eval()
    source.save_pretrained(tmp_path)
    teacher = Transformers("any", config=config, weights=tmp_path / "model.safetensors")
    images = torch.rand(2, 3, 64, 96)
    expected = source(teacher.prepare(images)).pooler_output
    torch.testing.assert_close(teacher(images).pooler_output, expected.detach())


MAE = {
    "model_type": "vit_mae",
    **BLOCKS,
    "decoder_hidden_size": 8,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 8,
}


def test_a_model_that_leaves_out_patches_is_refused_and_its_weights_are_not(tmp_path):
    with pytest.raises(TeacherError, match=r"patches at random.*auto_class='ViTModel'"):
        Transformers("any", weights="random", config=MAE)
    settings = {key: value for key, value in MAE.items() if key != "model_type"}
    source = transformers.ViTMAEModel(transformers.ViTMAEConfig(**settings))
    local(tmp_path, None, source)
    teacher = Transformers(str(tmp_path), auto_class="ViTModel", norm=IMAGENET)
    images = torch.rand(2, 3, 64, 64)
    first = teacher(images).last_hidden_state
    assert first.shape == (2, 17, 16)
    torch.testing.assert_close(teacher(images).last_hidden_state, first)
    theirs, mine = source.state_dict(), teacher.model.state_dict()
    shared = [key for key in mine if "pooler" not in key]
    assert all(torch.equal(mine[key], theirs[key]) for key in shared)


def test_another_size_than_the_model_takes_is_refused_with_the_setting():
    with pytest.raises(TeacherError, match=r"64 x 64 only, and size is \(32, 32\).*`config`"):
        Transformers("any", weights="random", config=CASES["vit"][1], size=(32, 32))


@pytest.mark.parametrize("name", ["AutoTokenizer", "AutoConfig", "ViTConfig"])
def test_a_class_that_makes_no_model_is_refused(name):
    with pytest.raises(
        TeacherError, match=rf"'{name}' of transformers makes no model. Name .* AutoModel"
    ):
        Transformers("any", weights="random", config=CASES["vit"][1], auto_class=name)


def test_a_model_of_texts_is_refused():
    config = {"model_type": "bert", "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 9}
    with pytest.raises(TeacherError, match=r"BertModel takes input_ids, .*not images alone"):
        Transformers("any", weights="random", config=config)


def test_a_configuration_object_and_another_class():
    config = transformers.ViTConfig(**BLOCKS)
    mine = Transformers(
        "any", weights="random", config=config, auto_class="AutoModelForImageClassification"
    )
    assert isinstance(mine.model, transformers.ViTForImageClassification)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"auto_class": "AutoModle"}, r"transformers has no 'AutoModle'. Did you mean AutoModel"),
        ({"config": {"model_type": "vti"}}, r"model_type of a known model, got 'vti'. Did you"),
        ({"config": {"hidden_size": 8}}, r"model_type of a known model, got ''"),
    ],
)
def test_wrong_names_get_a_hint(given, message):
    with pytest.raises(TeacherError, match=message):
        Transformers("any", **{"config": {"model_type": "vit"}, "weights": "random"} | given)
