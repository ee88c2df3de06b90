import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import anyteacher as at
from anyteacher.errors import TeacherError
from anyteacher.normalization import IMAGENET, ImageNorm
from anyteacher.teacher import BatchNorm


def convs():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 6, 3, 2)
    )


def test_it_is_frozen_and_in_eval_mode_whatever_is_called():
    model = convs().train()
    teacher = at.Teacher(model)
    images = torch.rand(2, 3, 16, 20)
    expected = teacher(images)
    before = copy.deepcopy(model.state_dict())
    for disturb in (
        teacher.train,
        lambda: nn.Sequential(teacher).train(),
        model.train,
        model[3].train,
        model[1].train,
    ):
        disturb()
        assert torch.equal(teacher(images), expected)
        assert not any(module.training for module in teacher.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher(images.requires_grad_()).requires_grad


@pytest.mark.parametrize("fed", [ImageNorm(), IMAGENET, ImageNorm((0.5,), (0.5,))])
@pytest.mark.parametrize("own", [IMAGENET, ImageNorm((0.5,), (0.25,))])
def test_one_affine_step_equals_normalising_by_hand(fed, own):
    raw = torch.rand(2, 3, 16, 20)

    def normalised(images, norm):
        mean, std = torch.tensor(norm.mean), torch.tensor(norm.std)
        return (images - mean[:, None, None]) / std[:, None, None]

    teacher = at.Teacher(convs(), norm=own)
    teacher.feed(fed)
    prepared = teacher.prepare(normalised(raw, fed))
    torch.testing.assert_close(prepared, normalised(raw, own))
    torch.testing.assert_close(teacher(normalised(raw, fed)), teacher.model(normalised(raw, own)))


def test_images_are_taken_to_be_in_0_1_unless_told():
    images = torch.rand(2, 3, 16, 20)
    teacher = at.Teacher(convs(), norm=IMAGENET)
    mean, std = torch.tensor(IMAGENET.mean), torch.tensor(IMAGENET.std)
    expected = (images - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(teacher.prepare(images), expected)


def test_images_come_as_they_are_without_a_normalisation_or_with_the_same():
    images = torch.rand(2, 3, 16, 20)
    assert at.Teacher(convs()).prepare(images) is images
    same = at.Teacher(convs(), norm=IMAGENET)
    same.feed(IMAGENET)
    assert same.prepare(images) is images


def test_two_users_cannot_feed_it_differently():
    teacher = at.Teacher(convs(), norm=IMAGENET)
    teacher.feed(ImageNorm())
    teacher.feed(ImageNorm())
    with pytest.raises(TeacherError, match="Give every user of it the same images_norm"):
        teacher.feed(IMAGENET)
    calibrated = at.Teacher(convs(), norm=IMAGENET).calibrate([torch.rand(2, 3, 16, 16)])
    with pytest.raises(TeacherError, match="call feed before calibrate"):
        calibrated.feed(IMAGENET)


def test_one_channel_becomes_as_many_as_the_normalisation_has():
    gray = torch.rand(2, 1, 16, 20)
    teacher = at.Teacher(convs(), norm=IMAGENET)
    torch.testing.assert_close(teacher(gray), teacher(gray.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("size", [(32, 24), (8, 9)])
def test_images_are_resized_without_aliasing(size):
    images = torch.rand(2, 3, 16, 20)
    teacher = at.Teacher(convs(), size=size)
    expected = F.interpolate(images, size, mode="bilinear", antialias=True)
    assert torch.equal(teacher.prepare(images), expected)
    ready = torch.rand(2, 3, *size)
    assert teacher.prepare(ready) is ready


@pytest.mark.parametrize("dtype", [torch.bfloat16, "bfloat16"])
def test_it_keeps_a_precision_of_its_own(dtype):
    teacher = at.Teacher(convs(), dtype=dtype)
    images = torch.rand(2, 3, 16, 20)
    assert teacher(images).dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.float16):
        assert teacher(images).dtype == torch.bfloat16
    assert at.Teacher(convs().double())(images).dtype == torch.float64
    assert at.Teacher(convs())(images.double()).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):  # one without is under the caller's
        assert at.Teacher(convs())(images).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", ["bfloat61", "int8", "nn"])
def test_an_unknown_precision(dtype):
    with pytest.raises(TeacherError, match=f"no precision '{dtype}'. (Did you mean|Known)"):
        at.Teacher(convs(), dtype=dtype)


def test_a_teacher_is_made_from_a_module(unchecked):
    with pytest.raises(TeacherError, match="made from a torch module, got a"):
        at.Teacher("resnet18")


def test_weights_from_a_file(tmp_path):
    source, target = convs(), convs()
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    teacher = at.Teacher(target, weights=tmp_path / "weights.pt")
    assert teacher.fingerprint() == at.Teacher(source).fingerprint()
    with pytest.raises(TeacherError, match="checkpoint of another model than this Linear"):
        at.Teacher(nn.Linear(2, 2), weights=tmp_path / "weights.pt")


def test_further_arguments_reach_the_model():
    class Scaled(nn.Module):
        def forward(self, images, factor=1):
            return factor * images

    assert at.Teacher(Scaled())(torch.ones(1, 1, 1, 1), factor=3) == 3


def test_bytes_are_refused(unchecked):
    with pytest.raises(TeacherError, match=r"floating-point type, got torch.uint8. Divide bytes"):
        at.Teacher(convs())(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))


class TestCalibrate:
    def make(self):
        model = convs()
        model[1].momentum = 0.3
        model.append(nn.BatchNorm2d(6))
        model[5].momentum = None
        return model, at.Teacher(model, norm=IMAGENET)

    def test_the_statistics_are_plain_means_over_the_batches(self):
        model, teacher = self.make()
        batches = [torch.rand(b, 3, 16, 20) for b in (4, 2, 3)]
        model[1].running_mean.fill_(9)
        assert teacher.calibrate(iter(batches)) is teacher
        means, variances = [], []
        for batch in batches:
            x = model[0](teacher.prepare(batch)).double().transpose(0, 1).flatten(1)
            means.append(x.mean(1))
            variances.append(((x - means[-1][:, None]) ** 2).sum(1) / (x.shape[1] - 1))
        torch.testing.assert_close(model[1].running_mean.double(), sum(means) / 3)
        torch.testing.assert_close(model[1].running_var.double(), sum(variances) / 3)

    def test_momentum_modes_and_freedom_from_dropout_come_back(self):
        model, teacher = self.make()
        batches = [torch.rand(2, 3, 16, 20)]
        teacher.calibrate(batches)
        first = copy.deepcopy(model.state_dict())
        teacher.calibrate(batches)
        assert all(torch.equal(v, first[k]) for k, v in model.state_dict().items())
        assert model[1].momentum == 0.3
        assert model[5].momentum is None
        assert not any(m.training for m in model.modules())

    def test_an_error_on_the_way_puts_the_modes_back(self):
        model, teacher = self.make()
        with pytest.raises(RuntimeError):
            teacher.calibrate([torch.rand(2, 3, 1, 1)])
        assert model[1].momentum == 0.3
        assert not any(m.training for m in model.modules())

    def test_it_needs_images(self):
        with pytest.raises(TeacherError, match="at least one batch of images, got none"):
            self.make()[1].calibrate([])

    def test_the_fingerprint_is_of_the_weights_and_not_of_what_was_measured(self):
        model, teacher = self.make()
        prints = [teacher.calibrate([torch.rand(2, 3, 16, 20)]).fingerprint() for _ in range(2)]
        assert prints[0] == prints[1]
        with torch.no_grad():
            next(model.parameters()).add_(1e-6)
        assert teacher.calibrate([torch.rand(2, 3, 16, 20)]).fingerprint() != prints[0]

    def test_what_was_measured_comes_back_to_the_last_bit(self):
        images = torch.rand(2, 3, 16, 20)
        _, teacher = self.make()
        assert teacher.statistics() == {}
        teacher.calibrate([images])
        expected = teacher(images)
        saved = {name: tensor.clone() for name, tensor in teacher.statistics().items()}
        assert len(saved) == 3 * sum(isinstance(m, BatchNorm) for m in teacher.model.modules()) > 0
        teacher.calibrate([torch.rand(4, 3, 16, 20)])
        assert not torch.equal(teacher(images), expected)
        teacher.restore(saved)
        assert torch.equal(teacher(images), expected)

    def test_a_model_that_is_a_batch_norm_itself(self):
        teacher = at.Teacher(nn.BatchNorm2d(3)).calibrate([torch.rand(2, 3, 16, 20)])
        assert set(teacher.statistics()) == set(teacher.model.state_dict()) - {"weight", "bias"}


def test_copies_share_the_one_model_and_pickles_carry_it():
    teacher = at.Teacher(convs(), norm=IMAGENET, size=(16, 16))
    images = torch.rand(2, 3, 20, 20)
    assert copy.deepcopy(teacher) is teacher
    other = pickle.loads(pickle.dumps(teacher))
    assert other.model is not teacher.model
    assert torch.equal(other(images), teacher(images))
    other.model.train()
    assert torch.equal(other(images), teacher(images))


class TestPreprocessing:
    def test_reversed_channels(self):
        raw = torch.rand(2, 3, 8, 8)
        norm = ImageNorm((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))  # in the order of the images
        teacher = at.Teacher(convs(), norm=norm, order="bgr")
        plain = at.Teacher(convs(), norm=norm)
        assert torch.equal(teacher.prepare(raw), plain.prepare(raw).flip(1))
        grey = torch.rand(2, 1, 8, 8)
        assert torch.equal(teacher.prepare(grey), plain.prepare(grey).flip(1))

    def test_an_order_that_does_not_exist(self, unchecked):
        with pytest.raises(TeacherError, match=r"no order 'brg'. Did you mean rgb or bgr"):
            at.Teacher(convs(), order="brg")

    def test_other_channels_than_those_of_the_normalisation_are_named(self):
        teacher = at.Teacher(convs(), norm=IMAGENET)
        with pytest.raises(TeacherError, match=r"have 3 channels, by its norm.* it is given 5"):
            teacher.prepare(torch.rand(1, 5, 8, 8))
        with pytest.raises(TeacherError, match=r"three channels have the order 'bgr'.* have 1"):
            at.Teacher(convs(), order="bgr").prepare(torch.rand(1, 1, 8, 8))

    def test_what_a_model_refuses_is_explained_when_it_is_probed(self):
        net = nn.Sequential(nn.Conv2d(1, 4, 3))
        link = at.Link("0", "4")
        with pytest.raises(
            TeacherError, match=r"images of shape \(2, 1, 16, 16\) .*takes 3 channels, not 1"
        ):
            at.Distiller(net, at.Teacher(convs()), [link], example=torch.rand(2, 1, 16, 16))
        with pytest.raises(TeacherError, match=r"shape \(2, 3, 3, 3\) \(RuntimeError.*the `size`"):
            at.Distiller(
                nn.Sequential(nn.Conv2d(3, 4, 3)),
                at.Teacher(convs()),
                [link],
                example=torch.rand(2, 3, 3, 3),
            )

    def test_it_is_described_in_a_line(self):
        teacher = at.Teacher(
            convs(), norm=ImageNorm((0.485,), (0.25,)), size=(32, 48), dtype="bfloat16", order="bgr"
        )
        teacher.trained_at = (224, 224)
        assert teacher.described() == (
            "Sequential, 342 parameters with the weights that it came with; images resized to "
            "32 x 48 (trained at 224 x 224), normalised by mean (0.485) and std (0.25), BGR, "
            "in bfloat16"
        )
        assert at.Teacher(convs()).described() == (
            "Sequential, 342 parameters with the weights that it came with; images of their own "
            "size, as they come, RGB"
        )
