"""All measurements of a distiller, against the features taken out by hand."""

import pytest
import torch
from torch import nn

import anyteacher as at
from anyteacher.analysis import directions_of, measure
from anyteacher.errors import DataError, NonFiniteError
from anyteacher.spectral import Moments, decompose, effective_rank


def net(width, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 6, 1)
        )


def distiller(*links, **teachers):
    images = torch.rand(2, 3, 8, 8)
    given = teachers or {"teacher": net(7, 1).eval()}
    return at.Distiller(
        net(5, 0), {n: at.Teacher(t) for n, t in given.items()}, links, example=images
    )


def maps(model, images, layers=3):
    with torch.no_grad():
        return model[:layers].eval()(images).permute(0, 2, 3, 1).flatten(0, 2).double()


@pytest.fixture
def images():
    return torch.rand(12, 3, 8, 8)


@pytest.mark.parametrize("direction", ["inverted", "traditional"])
def test_one_link_over_several_batches_is_the_features_as_a_whole(images, direction):
    made = distiller(at.Link("2", "2", direction=direction))
    found = measure(made, images.split(5), samples=3)
    student, teacher = maps(made.student, images), maps(made.teachers["teacher"].model, images)
    weight, bias = made.connections[0].projectors[0].affine()
    projected = (teacher if direction == "inverted" else student) @ weight.detach().double().T
    (measured,) = found.links
    assert (found.images, measured.rows) == (12, 12 * 16)
    assert (measured.name, measured.student_tap) == ("2<-2", "2")
    assert (measured.projector, measured.direction) == ("Linear", direction)
    for energies, rows in (
        (measured.student, student),
        (measured.teacher, teacher),
        (measured.projected, projected),
    ):
        values = torch.linalg.svdvals(rows - rows.mean(0)).square() / len(rows)
        assert torch.allclose(energies[: len(values)], values, rtol=1e-4)
    assert measured.cka == pytest.approx(float(Moments.of(student, teacher).cka()), rel=1e-6)
    expected = decompose(student, teacher, weight, bias, direction=direction)
    assert float(measured.decomposition.total) == pytest.approx(float(expected.total), rel=1e-5)
    by_hand = directions_of(Moments.of(projected, teacher), direction=direction)
    for values in ("teacher", "projected", "kept"):
        ours, theirs = (getattr(found, values) for found in (measured.directions, by_hand))
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    rank = effective_rank(student, centre=True)
    assert measured.student_rank == pytest.approx(float(rank), rel=1e-5)
    assert {name: tuple(p.shape) for name, p in measured.pictures.items()} == {
        "teacher": (3, 3, 4, 4),
        "projected": (3, 3, 4, 4),
        "student": (3, 3, 4, 4),
    }
    assert torch.equal(found.samples, images[:3])
    assert float(found.alignment[2]) == pytest.approx(measured.cka)


@pytest.mark.parametrize("bias", [False, True])
def test_a_projector_that_fits_every_batch_is_fitted_to_all_rows(images, bias):
    made = distiller(at.Link("2", "2", projector=at.projectors.ClosedForm(bias=bias)))
    parts = [images[:8], images[8:11], images[11:, :, :4, :4]]  # the last has too few for a fit
    found = [measure(made, batches).links[0] for batches in (parts, [*parts[::-1]])]
    student, teacher = (
        torch.cat([maps(model, part) for part in parts])
        for model in (made.student, made.teachers["teacher"].model)
    )
    ones = torch.ones(len(teacher), int(bias), dtype=torch.float64)
    design = torch.cat([teacher, ones], 1)
    ridge = 1e-3 * len(teacher) * torch.eye(7 + bias, dtype=torch.float64)
    ridge[7:] = 0
    fit = torch.linalg.solve(design.T @ design + ridge, design.T @ student)
    projected = design @ fit
    values = torch.linalg.eigvalsh((projected - projected.mean(0)).T.cov(correction=0)).flip(0)
    for measured in found:
        assert torch.allclose(measured.projected, values, rtol=1e-3, atol=1e-7)
        total = float((student - projected).square().mean())
        assert float(measured.decomposition.total) == pytest.approx(total, rel=1e-4)
        assert measured.pictures["projected"].shape[1] == 3
    assert torch.allclose(found[0].directions.kept, found[1].directions.kept, atol=1e-6)


def test_the_components_of_the_sides_go_the_same_way(images):
    """A student that is the teacher with other signs looks like the teacher."""
    teacher = net(7, 1).eval()
    made = at.Distiller(
        net(7, 1), at.Teacher(teacher), [at.Link("3", "3", direction="none")], example=images[:2]
    )
    with torch.no_grad():
        made.student[3].weight.mul_(-1)
        made.student[3].bias.mul_(-1)
    (measured,) = measure(made, [images]).links
    assert measured.projected is None
    assert measured.directions is None
    assert measured.decomposition is None
    pictures = measured.pictures
    assert set(pictures) == {"teacher", "student"}
    assert torch.allclose(pictures["student"], pictures["teacher"], atol=1e-4)


def test_a_link_without_a_teacher_has_the_students_energies_alone(images):
    made = at.Distiller(
        net(5, 0),
        None,
        [at.Link("2", loss=at.regularizers.TrailingEnergy(2))],
        example=images[:2],
    )
    found = measure(made, [images])
    (measured,) = found.links
    assert measured.teacher is measured.projected is measured.cka is measured.directions is None
    assert found.alignment is None
    assert set(measured.pictures) == {"student"}
    rows = maps(made.student, images)
    values = torch.linalg.svdvals(rows - rows.mean(0)).square() / len(rows)
    assert torch.allclose(measured.student, values, rtol=1e-4)


def test_pooled_features_have_no_pictures(images):
    made = distiller(at.Link("2", "2", compare="pooled"))
    (measured,) = measure(made, [images]).links
    assert (measured.pictures, measured.rows) == ({}, 12)


def test_a_projector_that_is_not_linear_has_directions_and_no_terms(images):
    made = distiller(at.Link("2", "2", projector=at.projectors.MLP()))
    (measured,) = measure(made, [images]).links
    assert measured.decomposition is None
    assert measured.rank is None
    assert 0 < float(measured.directions.projected.sum()) <= 1


@pytest.mark.parametrize("direction", ["inverted", "traditional"])
def test_the_rank_is_that_of_the_projectors_matrix(images, direction):
    low = at.projectors.LowRank(2)
    links = [at.Link("2", "2", direction=direction), at.Link("2", "2", projector=low, name="low")]
    found = measure(distiller(*links), [images]).links
    assert [measured.rank for measured in found] == [5, 2]
    # A loss that takes both sides' positions as they are leaves no terms; the matrix has its rank.
    low = at.projectors.LowRank(1)
    apart = at.Link("2", "input:0", loss=at.losses.SP(), direction=direction, projector=low)
    (measured,) = measure(distiller(apart), [images]).links
    assert (measured.decomposition, measured.rank) == (None, 1)


def test_the_weight_is_that_of_the_link_and_the_level(images):
    levels = at.Link(["0", "2"], ["2", "3"], weight=0.5, level_weights=[1.0, 3.0], warmup=10)
    made = distiller(levels, at.Link("2", "2"), at.Link("2", loss=at.regularizers.NuclearNorm()))
    assert [m.weight for m in measure(made, [images]).links] == [0.5, 1.5, 1.0, 1.0]


def test_levels_and_links_are_told_apart_and_every_tap_is_aligned_once(images):
    levels = at.Link(["0", "2"], ["2", "3"], of="a", name="levels")
    again = at.Link("2", "2", of="b", name="again")
    made = distiller(levels, again, a=net(7, 1).eval(), b=net(4, 2).eval())
    found = measure(made, [images])
    assert [m.name for m in found.links] == ["levels[0]", "levels[1]", "again"]
    assert [m.student_tap for m in found.links] == ["0", "2", "2"]
    students, teachers, matrix = found.alignment
    assert (students, teachers) == (["0", "2"], ["a: 2", "a: 3", "b: 2"])
    assert float(matrix[1, 1]) == pytest.approx(found.links[1].cka)
    assert float(matrix[1, 2]) == pytest.approx(found.links[2].cka)


def test_the_matrix_agrees_with_every_link_whatever_else_is_compared(images):
    links = [
        at.Link("2", "2", name="maps"),
        at.Link("2", "3", compare="pooled", name="pooled"),
        at.Link("3", "2", name="other"),
    ]
    found = measure(distiller(*links), [images])
    students, teachers, values = found.alignment
    assert (students, teachers) == (["2", "2 (pooled)", "3"], ["2", "3 (pooled)"])
    for measured, place in zip(found.links, ((0, 0), (1, 1), (2, 0)), strict=True):
        assert float(values[place]) == measured.cka
    alone = measure(distiller(links[0]), [images])
    assert float(alone.alignment[2]) == pytest.approx(float(values[0, 0]))
    assert float(values[0, 0]) != pytest.approx(float(values[1, 0]), abs=1e-3)


def test_modes_and_weights_are_left_as_they_were(images):
    made = distiller(at.Link("2", "2"))
    made.train()
    before = {name: value.clone() for name, value in made.student.state_dict().items()}
    measure(made, [images])
    assert made.training
    assert made.student.training
    assert all(torch.equal(before[n], v) for n, v in made.student.state_dict().items())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_feature_that_is_not_finite_is_named(images, bad):
    made = distiller(at.Link("2", "2", name="mine"))
    with torch.no_grad():
        made.student[0].weight[0, 0, 0, 0] = bad
    with pytest.raises(NonFiniteError, match="Link 'mine' compares a feature that is infinite"):
        measure(made, [images])


def test_without_images_there_is_nothing_to_measure():
    with pytest.raises(DataError, match="at least one batch"):
        measure(distiller(at.Link("2", "2")), [])
