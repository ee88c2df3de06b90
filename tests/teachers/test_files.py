import pytest
import torch
from torch import nn

import anyteacher as at
from anyteacher.errors import TapError, TeacherError, require
from anyteacher.models import EncoderDecoder
from anyteacher.normalization import IMAGENET
from anyteacher.survey import suggest, survey
from anyteacher.teachers import Exported, TorchScript
from anyteacher.teachers.files import Whole

IMAGES = torch.rand(2, 3, 64, 96)
DYNAMIC = ({0: torch.export.Dim.AUTO},)


def vit():
    settings = {"img_size": (64, 96), "depth": 2, "embed_dim": 12, "num_heads": 2}
    return require("timm").create_model("vit_tiny_patch16_224", **settings)


MODELS = {
    "convolutions": lambda: EncoderDecoder(2, width=4),
    "resnet": lambda: require("timm").create_model("resnet10t"),
    "vit": vit,
}


def exported(model, path, *, dynamic=DYNAMIC):
    torch.export.save(torch.export.export(model, (IMAGES,), dynamic_shapes=dynamic), path)
    return path


@pytest.mark.parametrize("name", MODELS)
def test_an_exported_program_is_the_model_and_has_its_taps(name, tmp_path):
    model = MODELS[name]().eval()
    teacher = Exported(exported(model, tmp_path / "model.pt2"))
    assert teacher.size == (64, 96)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    images = torch.rand(3, 3, 64, 96)
    torch.testing.assert_close(teacher(images), model(images).detach())
    # The same layers are proposed as of the model itself, and hold the same features.
    student = survey(MODELS["resnet"]().eval(), IMAGES)
    pairs = [
        [(mine.path, theirs.path) for mine, theirs in suggest(student, survey(m, IMAGES))]
        for m in (model, teacher.model)
    ]
    assert pairs[0] == pairs[1]
    taps = dict.fromkeys(theirs for _, theirs in pairs[0])
    links = [at.Link("0", theirs, compare="pooled", name=theirs) for theirs in taps]
    losses = []
    for mine in (at.Teacher(model), teacher):
        torch.manual_seed(0)
        small = nn.Sequential(nn.Conv2d(3, 4, 3, 16))
        losses.append(at.Distiller(small, mine, links, example=images, seed=1)(images).losses)
    assert losses[0].keys() == losses[1].keys()
    for key, value in losses[0].items():
        torch.testing.assert_close(losses[1][key], value)


def test_any_size_where_the_program_takes_any(tmp_path):
    auto = torch.export.Dim.AUTO
    path = exported(EncoderDecoder(2, width=4).eval(), tmp_path / "any.pt2", dynamic=None)
    with pytest.raises(TeacherError, match=r"takes batches of 2 images only.*dynamic_shapes"):
        Exported(path)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    teacher = Exported(
        exported(model, tmp_path / "free.pt2", dynamic=({0: auto, 2: auto, 3: auto},)),
        norm=IMAGENET,
    )
    assert teacher.size is None
    assert teacher(torch.rand(1, 3, 20, 30)).shape == (1, 4, 18, 28)
    expected = (torch.zeros(3) - torch.tensor(IMAGENET.mean)) / torch.tensor(IMAGENET.std)
    prepared = teacher.prepare(torch.zeros(1, 3, 8, 8))
    torch.testing.assert_close(prepared[0, :, 0, 0], expected)


def test_another_size_than_the_program_takes_is_refused(tmp_path):
    path = exported(vit().eval(), tmp_path / "vit.pt2")
    with pytest.raises(TeacherError, match=r"images of 64 x 96 only, and size is \(32, 32\)"):
        Exported(path, size=(32, 32))


class Attention(nn.Module):
    def forward(self, x):
        chance = 0.5 if self.training else 0.0
        return nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=chance)


class Depth(nn.Module):
    """Leaves itself out of some images, as the blocks of many transformers do."""

    def forward(self, x):
        return x * x.new_empty((len(x), 1, 1, 1)).bernoulli_(0.5) if self.training else x


TRAINED = {
    "dropout": nn.Dropout(0.5),
    "channels": nn.Dropout2d(0.5),
    "alpha": nn.AlphaDropout(0.5),
    "rrelu": nn.RReLU(),
    "batches": nn.BatchNorm2d(4),
    "instances": nn.InstanceNorm2d(4, track_running_stats=True),
    "attention": Attention(),
    "depth": Depth(),
}


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize("name", TRAINED)
def test_a_program_in_training_mode_is_refused(name, decomposed, tmp_path):
    def saved(model, path):
        program = torch.export.export(model, (IMAGES,), dynamic_shapes=DYNAMIC)
        torch.export.save(program.run_decompositions() if decomposed else program, path)
        return path

    model = nn.Sequential(nn.Conv2d(3, 4, 3), TRAINED[name])
    with pytest.raises(TeacherError, match=r"in training mode \(.*after model.eval\(\)"):
        Exported(saved(model.train(), tmp_path / "train.pt2"))
    assert Exported(saved(model.eval(), tmp_path / "eval.pt2"))


@pytest.mark.parametrize(
    "layer",
    [nn.Dropout(0.0), nn.BatchNorm2d(4, track_running_stats=False)],
    ids=["never", "always"],
)
def test_a_program_that_is_the_same_in_either_mode_is_taken(layer, tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), layer).train()
    teacher = Exported(exported(model, tmp_path / "model.pt2"))
    torch.testing.assert_close(teacher(IMAGES), model.eval()(IMAGES).detach())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dropout", "on the same images"),
        ("attention", "on the same images"),
        ("depth", "on the same images"),
        ("batches", "beside other images"),
    ],
)
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_script_in_training_mode_is_refused_with_the_first_images(name, message, tmp_path):
    def saved(model, path):
        with pytest.warns(FutureWarning, match=r"torch\.jit"):
            torch.jit.save(torch.jit.trace(model, images, check_trace=False), path)
        return TorchScript(path)

    images = torch.rand(8, 3, 16, 16)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), TRAINED[name])
    teacher, state = saved(model.train(), tmp_path / "train.pt"), torch.get_rng_state()
    with pytest.raises(TeacherError, match=rf"{message}: it was traced in training mode.*eval\(\)"):
        teacher(images)
    assert torch.equal(torch.get_rng_state(), state)
    trained = saved(model.eval(), tmp_path / "eval.pt")
    torch.testing.assert_close(trained(images), model(images).detach())


class TokensFirst(nn.Module):
    """Gives (tokens, batch, channels), and a mean over all of the batch."""

    def __init__(self):
        super().__init__()
        self.body, self.drop = nn.Conv2d(3, 6, 3, 8), nn.Dropout()

    def forward(self, images):
        tokens = self.drop(self.body(images)).flatten(2).permute(2, 0, 1)
        return tokens, tokens.mean((0, 1))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_script_whose_outputs_have_no_row_for_each_image_is_taken(tmp_path):
    def saved(model, path):
        with pytest.warns(FutureWarning, match=r"torch\.jit"):
            torch.jit.save(torch.jit.trace(model, IMAGES, check_trace=False), path)
        return TorchScript(path)

    model = TokensFirst()
    trained = saved(model.eval(), tmp_path / "eval.pt")
    torch.testing.assert_close(trained(IMAGES)[0], model(IMAGES)[0].detach())
    with pytest.raises(TeacherError, match="on the same images: it was traced in training mode"):
        saved(model.train(), tmp_path / "train.pt")(IMAGES)


def test_a_script_is_looked_at_again_with_two_images_and_no_more(script, monkeypatch):
    teacher, seen = TorchScript(script[1]), []
    monkeypatch.setattr(Whole, "_check", lambda whole, images: seen.append(len(images)))
    for count in (1, 1, 2, 2, 1):
        teacher(IMAGES[:count])
    assert seen == [1, 2]


def test_other_weights_of_the_same_model(tmp_path):
    path = exported(EncoderDecoder(2, width=4).eval(), tmp_path / "model.pt2")
    other = EncoderDecoder(2, width=4).eval()
    torch.save(other.state_dict(), tmp_path / "other.pt")
    teacher = Exported(path, weights=tmp_path / "other.pt")
    torch.testing.assert_close(teacher(IMAGES), other(IMAGES).detach())


class Constants(nn.Module):
    """Makes tensors on the device of its images, and holds some that are no buffers."""

    def __init__(self):
        super().__init__()
        self.inner, self.plain = nn.Conv2d(3, 4, 3), torch.rand(4, 1, 1)

    def forward(self, images):
        x = self.inner(images)
        x = x + torch.arange(x.shape[-1], device=images.device)
        x = x * torch.tensor([1.0, 2.0, 3.0, 4.0], device=images.device)[:, None, None]
        return x + self.plain.to(images.device)


def test_a_program_goes_to_another_device_with_all_that_it_makes(tmp_path):
    model = Constants().eval()
    teacher = Exported(exported(model, tmp_path / "model.pt2"))
    torch.testing.assert_close(teacher(IMAGES), model(IMAGES).detach())
    # There the kinds of devices may not be mixed, and nothing is computed.
    moved = teacher.to("meta")(IMAGES.to("meta"))
    assert (moved.device.type, moved.shape) == ("meta", (2, 4, 62, 94))


def test_a_program_that_takes_no_images_is_refused(tmp_path):
    program = torch.export.export(nn.Linear(4, 2), (torch.rand(2, 4),))
    torch.export.save(program, tmp_path / "linear.pt2")
    with pytest.raises(TeacherError, match=r"takes no images \(B, C, H, W\)"):
        Exported(tmp_path / "linear.pt2")


class Two(nn.Module):
    """Gives a feature and a prediction."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 6, 3, 8), nn.Conv2d(6, 2, 1)

    def forward(self, images):
        feature = self.body(images)
        return {"feature": feature, "out": self.head(feature)}


@pytest.fixture
def script(tmp_path):
    model = Two().eval()
    with pytest.warns(FutureWarning, match=r"torch\.jit"):
        torch.jit.save(torch.jit.trace(model, IMAGES, strict=False), tmp_path / "model.pt")
    return model, tmp_path / "model.pt"


def test_torchscript_gives_its_outputs(script):
    model, path = script
    teacher = TorchScript(path, norm=IMAGENET, dtype="bfloat16")
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher.model.scripted.training
    assert teacher(IMAGES)["out"].dtype == torch.bfloat16
    plain = TorchScript(path)
    torch.testing.assert_close(plain(IMAGES)["feature"], model(IMAGES)["feature"].detach())
    assert plain.fingerprint() == TorchScript(path).fingerprint() != teacher.fingerprint()
    torch.manual_seed(0)
    student = nn.Sequential(nn.Conv2d(3, 6, 3, 8))
    link = at.Link("0", "output[feature]", direction="none")
    out = at.Distiller(student, plain, [link], example=IMAGES)(IMAGES)
    expected = (student(IMAGES) - model(IMAGES)["feature"]).square().mean()
    torch.testing.assert_close(out.total, expected)


def test_torchscript_refuses_taps_inside(script):
    link = at.Link("0", "scripted.body")
    with pytest.raises(TapError, match=r"'scripted.body'.*TorchScript.*torch\.export"):
        at.Distiller(
            nn.Sequential(nn.Conv2d(3, 6, 3)), TorchScript(script[1]), [link], example=IMAGES
        )


def test_the_survey_of_torchscript_has_its_outputs(script):
    found = survey(TorchScript(script[1]).model, IMAGES)
    assert [(c.path, c.shape) for c in found] == [
        ("output[feature]", (6, 8, 12)),
        ("output[out]", (2, 8, 12)),
    ]


def test_a_scripted_module_is_taken_from_its_file(script):
    with pytest.raises(TeacherError, match=r"its file to teachers\.TorchScript"):
        at.Teacher(TorchScript(script[1]).model.scripted)


@pytest.mark.parametrize("kind", [Exported, TorchScript])
def test_files_that_cannot_be_read(kind, tmp_path):
    with pytest.raises(TeacherError, match=r"no file '.*gone'. Give the path"):
        kind(tmp_path / "gone")
    (tmp_path / "damaged").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(
        TeacherError, match=r"damaged' cannot be read \(.*Write it again with torch"
    ):
        kind(tmp_path / "damaged")
