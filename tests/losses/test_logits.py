import math

import pytest
import torch
from slow import close, rows_of, softmax

import anyteacher as at
from anyteacher.errors import ConfigError, DataError, LayoutError
from anyteacher.losses import (
    DIST,
    DKD,
    KD,
    StandardizedKD,
    dkd,
    kd,
    standardized_kd,
)

DKD_DEFAULTS = {"alpha": 1.0, "beta": 8.0, "temperature": 4.0}
SHAPES = [(3, 4, 2, 5), (1, 3, 4, 1), (6, 3), (2, 7)]


def pair(shape):
    return torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def slow_kd(student, teacher, temperature):
    pairs = list(zip(rows_of(student), rows_of(teacher), strict=True))
    total = sum(kl(softmax(t, temperature), softmax(s, temperature)) for s, t in pairs)
    return temperature**2 * total / len(pairs)


def slow_standardized_kd(student, teacher, temperature):
    def standard(row):
        mean = sum(row) / len(row)
        deviation = math.sqrt(sum((z - mean) ** 2 for z in row) / (len(row) - 1))
        return [(z - mean) / (1e-7 + deviation) for z in row]

    pairs = list(zip(rows_of(student), rows_of(teacher), strict=True))
    total = sum(
        kl(softmax(standard(t), temperature), softmax(standard(s), temperature)) for s, t in pairs
    )
    return temperature**2 * total / len(pairs)


def slow_dkd(student, teacher, targets, *, alpha, beta, temperature, ignore=-100):
    total = 0.0
    for image in range(len(student)):
        rows = [rows_of(x[image : image + 1]) for x in (student, teacher)]
        labels, values = targets[image].flatten().tolist(), []
        for s, t, label in zip(*rows, labels, strict=True):
            if label == ignore:
                continue
            p, q = softmax(t, temperature), softmax(s, temperature)
            tckd = kl([p[label], 1 - p[label]], [q[label], 1 - q[label]])
            others = [k for k in range(len(p)) if k != label]
            nckd = kl(*(softmax([z[k] for k in others], temperature) for z in (t, s)))
            values.append(alpha * tckd + beta * nckd)
        total += sum(values) / len(values) if values else 0.0
    return temperature**2 * total / len(student)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperature", [1.0, 2.5, 4.0])
def test_each_loss_against_plain_loops(shape, temperature):
    student, teacher = pair(shape)
    close(kd(student, teacher, temperature=temperature), slow_kd(student, teacher, temperature))
    close(
        standardized_kd(student, teacher, temperature=temperature),
        slow_standardized_kd(student, teacher, temperature),
    )
    targets = torch.randint(shape[1], (shape[0], *shape[2:]))
    settings = {"alpha": 0.7, "beta": 3.0, "temperature": temperature}
    close(
        dkd(student, teacher, targets, **settings), slow_dkd(student, teacher, targets, **settings)
    )


def test_values_by_hand():
    student, teacher = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    # Probabilities (3/4, 1/4) against (1/2, 1/2).
    expected = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert float(kd(student, teacher, temperature=1.0)) == pytest.approx(expected)
    # Two logits have the z-scores +-1/sqrt(2), however far they are apart.
    for pair_of in ([2.0, 1.0], [1e3, 0.0]):
        assert float(standardized_kd(student, torch.tensor([pair_of]))) < 1e-10
    # Student (1/2, 1/4, 1/4), teacher (1/4, 1/2, 1/4), target 0.
    student = torch.tensor([[2.0, 1.0, 1.0]]).log()
    teacher = torch.tensor([[1.0, 2.0, 1.0]]).log()
    tckd = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    nckd = 2 / 3 * math.log(2 / 3 / 0.5) + 1 / 3 * math.log(1 / 3 / 0.5)
    value = dkd(student, teacher, torch.tensor([0]), alpha=2.0, beta=5.0, temperature=1.0)
    assert float(value) == pytest.approx(2 * tckd + 5 * nckd, rel=1e-5)


def test_dkd_with_the_teachers_share_of_the_others_is_kd():
    student, teacher = pair((1, 6))
    share = 1 - float((teacher / 3).softmax(1)[0, 2])
    value = dkd(student, teacher, torch.tensor([2]), alpha=1.0, beta=share, temperature=3.0)
    close(value, kd(student, teacher, temperature=3.0))


def test_invariances():
    student, teacher = pair((5, 4, 3, 2))
    shift = torch.randn(5, 1, 3, 2, dtype=torch.float64)
    targets = torch.randint(4, (5, 3, 2))
    for loss in (kd, standardized_kd, lambda s, t: dkd(s, t, targets)):
        close(loss(student + shift, teacher), loss(student, teacher))
    scale = 1 + torch.rand(5, 1, 3, 2, dtype=torch.float64)
    difference = standardized_kd(student * scale, teacher) - standardized_kd(student, teacher)
    assert abs(float(difference)) < 1e-6  # but for eps


def test_at_high_temperature_kd_matches_centred_logits():
    student, teacher = pair((3, 5))
    centred = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    expected = centred.square().sum(1).mean() / (2 * 5)
    assert float(kd(student, teacher, temperature=1e4)) == pytest.approx(float(expected), rel=1e-3)


def test_a_map_is_its_pixels_as_rows():
    student, teacher = pair((3, 4, 2, 5))
    targets = torch.randint(4, (3, 2, 5))
    flat = [x.movedim(1, -1).flatten(0, -2) for x in (student, teacher)]
    for loss in (kd, standardized_kd):
        close(loss(student, teacher), loss(*flat))
    close(dkd(student, teacher, targets), dkd(*flat, targets.flatten()))


def test_ignored_pixels_and_images_do_not_count():
    student, teacher = pair((3, 4, 2, 5))
    targets = torch.randint(4, (3, 2, 5))
    targets[0, 0], targets[2] = 255, 255
    student.requires_grad_()
    value = dkd(student, teacher, targets, ignore=255)
    close(value, slow_dkd(student.detach(), teacher, targets, **DKD_DEFAULTS, ignore=255))
    value.backward()
    ignored = (targets == 255)[:, None].expand_as(student)
    assert (student.grad[ignored] == 0).all()
    assert (student.grad[~ignored] != 0).all()
    nothing = dkd(student, teacher, torch.full_like(targets, 255), ignore=255)
    assert nothing.requires_grad
    assert float(nothing.detach()) == 0
    rows = student.detach()[:, :, 0, 0], teacher[:, :, 0, 0]
    some = dkd(*rows, torch.tensor([1, -100, 2]))
    close(3 * some, 2 * dkd(rows[0][::2], rows[1][::2], torch.tensor([1, 2])))


def test_targets_of_another_size_are_read_at_the_nearest_pixel():
    student, teacher = pair((2, 4, 2, 3))
    coarse = torch.randint(4, (2, 2, 3))
    fine = coarse.repeat_interleave(4, 1).repeat_interleave(3, 2)
    close(dkd(student, teacher, fine), dkd(student, teacher, coarse))
    close(dkd(student, teacher, fine.to(torch.uint8)), dkd(student, teacher, coarse))


def test_an_extreme_teacher_leaves_a_finite_gradient():
    student, teacher = torch.randn(2, 4, requires_grad=True), torch.zeros(2, 4)
    teacher[0, 1], teacher[1, 2] = 1e4, -1e4
    teacher.requires_grad_()
    for loss in (kd, lambda s, t: dkd(s, t, torch.tensor([1, 2]))):
        student.grad = teacher.grad = None
        value = loss(student, teacher)
        value.backward()
        assert value.isfinite()
        assert student.grad.isfinite().all()
        assert teacher.grad.isfinite().all()


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e3])
def test_a_constant_row_has_z_scores_of_zero_and_no_great_gradient(constant):
    """The start of a student whose last layer is zero: rounding is not stretched."""
    student = torch.full((4, 7, 5, 3), constant).requires_grad_()
    teacher = torch.randn(4, 7, 5, 3)
    value = standardized_kd(student, teacher)
    assert float(value.detach()) == pytest.approx(float(standardized_kd(0 * teacher, teacher)))
    value.backward()
    assert 0 < student.grad.abs().max() < 1


def test_modules_pass_their_settings_on():
    student, teacher = pair((4, 5))
    targets = torch.tensor([0, 1, 7, 4])
    close(KD(3.0)(student, teacher), kd(student, teacher, temperature=3.0))
    close(StandardizedKD(3.0)(student, teacher), standardized_kd(student, teacher, temperature=3.0))
    close(
        DKD(2.0, 3.0, 5.0, ignore=7)(student, teacher, targets),
        dkd(student, teacher, targets, alpha=2.0, beta=3.0, temperature=5.0, ignore=7),
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KD(0.0), r"KD needs a positive temperature, got 0.0"),
        (lambda: StandardizedKD(-1.0), r"positive temperature, got -1.0"),
        (lambda: DKD(temperature=float("inf")), r"positive temperature, got inf"),
        (lambda: DKD(alpha=-1.0), r"weights of 0 or more, got alpha=-1.0 and beta=8.0"),
    ],
)
def test_impossible_settings_are_refused(make, message, unchecked):
    with pytest.raises(ConfigError, match=message):
        make()


def test_too_few_classes_are_refused():
    two = torch.zeros(2, 2)
    with pytest.raises(LayoutError, match=r"undefined for 2 classes: .* Use losses.KD\(\)"):
        dkd(two, two, torch.zeros(2, dtype=torch.int64))
    with pytest.raises(LayoutError, match="DKD is undefined for 2 classes"):
        DKD().build(2, 2)
    for loss in (kd, standardized_kd):
        with pytest.raises(LayoutError, match=r"at least two classes, got logits of 1\. .*MSE\(\)"):
            loss(two[:, :1], two[:, :1])


@pytest.mark.parametrize("loss", [KD(), StandardizedKD(), DIST(), DKD()])
def test_a_link_of_logits_of_one_channel_is_refused_before_it_learns(loss):
    models = [torch.nn.Sequential(torch.nn.Conv2d(3, 1, 1)) for _ in "ab"]
    link = at.Link("0", "0", loss=loss, direction="none", name="logits")
    named = (
        rf"^Link 'logits': {type(loss).__name__} compares .* at least two classes, got .* of 1\."
    )
    with pytest.raises(LayoutError, match=named):
        at.Distiller(*models, [link], example=torch.rand(2, 3, 4, 4))


def test_targets_that_do_not_fit_are_refused(unchecked):
    logits = torch.zeros(2, 3, 4, 4)
    for shape in ((2,), (3, 4, 4), (2, 1, 4, 4)):
        with pytest.raises(LayoutError, match=r"dkd needs a class for each row .* shape \(2, 3, 4"):
            dkd(logits, logits, torch.zeros(shape, dtype=torch.int64))
    targets = torch.zeros(2, 4, 4, dtype=torch.int64)
    targets[1, 2, 3] = 255
    with pytest.raises(DataError, match=r"target 255 and logits of 3 classes.*`ignore` \(now -100"):
        dkd(logits, logits, targets)
    with pytest.raises(DataError, match="target -1 and logits"):
        dkd(logits, logits, targets - 1, ignore=254)


@pytest.mark.parametrize("loss", [KD(), StandardizedKD(), DKD()])
def test_teachers_of_other_classes_are_refused_with_advice(loss):
    def model(classes):
        return torch.nn.Sequential(torch.nn.Conv2d(3, classes, 1), torch.nn.Flatten(2))

    link = at.Link("0", "0", loss=loss, direction="none", name="logits")
    with pytest.raises(LayoutError) as raised:
        at.Distiller(model(10), model(7), [link], example=torch.rand(2, 3, 4, 4))
    message = str(raised.value)
    assert message.startswith(f"Link 'logits': Without a projector {type(loss).__name__} ")
    assert "got 10 channels from the student and 7 from the teacher" in message
    assert "use a feature loss such as losses.MSE() with direction='inverted'." in message


def test_feature_losses_of_unequal_widths_are_told_to_project():
    link = at.Link("0", "0", direction="none", name="mine")
    models = [torch.nn.Sequential(torch.nn.Conv2d(3, width, 1)) for width in (4, 6)]
    with pytest.raises(LayoutError, match=r"^Link 'mine': Without a projector MSE .*inverted"):
        at.Distiller(*models, [link], example=torch.rand(2, 3, 4, 4))
