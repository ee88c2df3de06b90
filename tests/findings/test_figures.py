import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from anyteacher.analysis import Analysis, Directions, directions_of
from anyteacher.findings import figures
from anyteacher.findings.detail import LEVELS, Detail
from anyteacher.spectral import Moments


def test_energies_are_shares_of_each_feature(measured):
    chart = figures.energies(measured(), 100)
    found = {line.label: (list(line.x), line.y) for line in chart.series}
    assert found["student"][0] == [1, 2, 3]
    assert found["student"][1] == pytest.approx([400 / 7, 200 / 7, 100 / 7])
    assert found["teacher"][1] == pytest.approx([50, 30, 10, 10])
    assert list(found) == ["teacher", "projected", "student"]
    assert "%" in chart.y_label


def test_energies_below_a_millionth_and_constant_features_are_left_out(measured):
    tiny = torch.tensor([1.0, 1e-3, 1e-9]).double()
    zeros = torch.zeros(3).double()
    chart = figures.energies(measured(teacher=tiny, projected=zeros, student=zeros), 100)
    assert [(line.label, len(line.y)) for line in chart.series] == [("teacher", 2)]
    assert figures.energies(measured(teacher=None, projected=None, student=zeros), 100) is None


@pytest.mark.parametrize(
    ("direction", "label"),
    [
        ("inverted", "of the projected feature: what comes from it"),
        ("traditional", "of the projected student: what lies along it"),
    ],
)
def test_used_and_dropped_directions(measured, direction, label):
    chart = figures.directions(measured(direction=direction))
    assert [bars.label for bars in chart.bars] == ["of the teacher", label]
    assert list(chart.bars[0].values) == pytest.approx([50, 30, 10, 10])
    assert list(chart.bars[1].values) == pytest.approx([75, 0, 25, 0])
    assert chart.marked == [False, True, False, True]
    read = {
        "inverted": "can be read back from the projected feature by a linear map. Of the "
        "teacher's whole energy 62.5 % can.",
        "traditional": "is reproduced by the projected student. Of the teacher's whole energy "
        "62.5 % is.",
    }
    assert chart.note == (
        "2 of 4 directions are dropped, with 40.0 % of the teacher's energy: less than 50 % of "
        f"their variance {read[direction]}"
    )


@pytest.mark.parametrize(
    ("direction", "rank", "said"),
    [
        (
            "inverted",
            4,
            "The projector's matrix has rank 4: it passes 4 mixtures of the teacher's directions, "
            "and at most 8 of these directions can be read back by half or more.",
        ),
        (
            "inverted",
            6,
            "The projector's matrix has rank 6: it passes 6 mixtures of the teacher's directions.",
        ),
        (
            "traditional",
            1,
            "The projector's matrix has rank 1: it makes the projected student of 1 mixture of the "
            "student's directions, and at most 2 of the teacher's directions can be reproduced by "
            "half or more.",
        ),
        ("inverted", 10, ""),
        ("inverted", None, ""),
    ],
)
def test_what_the_rank_of_the_matrix_allows_is_said(measured, direction, rank, said):
    shares = torch.full((10,), 0.1).double()
    found = Directions(shares, shares, torch.zeros(10).double())
    note = figures.directions(measured(directions=found, rank=rank, direction=direction)).note
    assert note.endswith(said or "Of the teacher's whole energy 0.0 % can.")


@pytest.mark.parametrize("direction", ["inverted", "traditional"])
@pytest.mark.parametrize("rank", [1, 3])
def test_no_more_directions_than_twice_the_rank_are_kept(direction, rank):
    """Whatever the matrix; and as many are, where it mixes pairs in equal parts."""
    teacher = torch.randn(200, 12).double() * torch.logspace(1, -1, 12).double()
    teacher = teacher - teacher.mean(0)
    scores, values, vectors = torch.linalg.svd(teacher, full_matrices=False)
    pairs = torch.zeros(12, rank).double()
    for place in range(rank):
        pairs[2 * place : 2 * place + 2, place] = 0.5**0.5
    others = [torch.linalg.qr(torch.randn(12, rank).double()).Q for _ in range(9)]
    for mixtures in (pairs, *others):
        projected = scores @ mixtures
        if direction == "traditional":
            projected = projected @ mixtures.T * values @ vectors
        found = directions_of(Moments.of(projected, teacher), direction=direction)
        assert float(found.kept.sum()) == pytest.approx(rank)
        kept = int((found.kept >= 0.5 - 1e-6).sum())
        assert kept <= 2 * rank
        assert mixtures is not pairs or kept == 2 * rank


def test_what_is_kept_and_passes_faintly_is_told(measured):
    shares, ones = torch.tensor([0.5, 0.5]).double(), torch.ones(2).double()
    found = Directions(shares, torch.tensor([1.0, 0.004]).double(), ones)
    note = figures.directions(measured(directions=found)).note
    assert note.startswith("0 of 2 directions are dropped, with 0.0 %")
    assert "1 more pass faintly, with less than 1 % of the mean gain" in note


def test_of_many_directions_the_first_are_shown(measured):
    shares = torch.full((100,), 0.01).double()
    chart = figures.directions(measured(directions=Directions(shares, shares, 100 * shares)))
    assert len(chart.bars[0].values) == len(chart.marked) == 32
    assert "0 of 100 directions" in chart.note
    assert chart.note.endswith("The first 32 are shown.")
    assert figures.directions(measured(directions=None)) is None
    none = torch.zeros(0).double()
    assert figures.directions(measured(directions=Directions(none, none, none))) is None


def test_the_alignment_is_a_matrix(analysis, measured):
    block = figures.alignment(analysis(measured(), measured("c<-d", student_tap="c")))
    assert (block.rows, block.columns) == (["a", "c"], ["b", "c"])
    assert block.values == [[0.5, 0.5]] * 2
    assert figures.alignment(Analysis(4, [], None, torch.rand(1, 1, 2, 2))) is None


def oklab_lightness(rgb):
    """Björn Ottosson's definition, from sRGB in [0, 255]."""
    share = rgb.astype(float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_lms = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    return np.cbrt(linear @ np.array(to_lms).T) @ [0.2104542553, 0.7936177850, -0.0040720468]


def test_lightness_is_the_first_component_whatever_the_others_are():
    steps = torch.linspace(-3, 3, 61)
    by_first = []
    for second in (-3.0, -1.0, 0.0, 1.0, 3.0):
        for third in (-3.0, 0.0, 3.0):
            scores = torch.stack(
                [steps, torch.full_like(steps, second), torch.full_like(steps, third)]
            )
            drawn = figures.component_picture(scores[None, :, :, None])[0, :, :, 0].T.numpy()
            by_first.append(oklab_lightness(drawn))
    spread = np.ptp(np.array(by_first), axis=0)
    assert spread.max() < 0.06  # of a whole of 1: what the screen's colours leave
    plain = oklab_lightness(
        figures.component_picture(torch.stack([steps, 0 * steps, 0 * steps])[None, :, :, None])[
            0, :, :, 0
        ].T.numpy()
    )
    inside = plain[6:55]  # within 2.5 deviations
    assert (np.diff(inside) > 0).all()


def test_one_component_alone_is_grey_and_others_are_not():
    first = torch.randn(1, 3, 4, 4)
    grey = first * torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    drawn = figures.component_picture(grey).int()
    assert int((drawn.amax(1) - drawn.amin(1)).max()) <= 1
    colored = figures.component_picture(first).int()
    assert int((colored.amax(1) - colored.amin(1)).max()) > 30


def test_components_stand_beside_their_images(analysis):
    block = figures.components(analysis(), LEVELS[0])
    assert block.columns == ["image", "teacher", "student"]
    assert len(block.rows) == 4
    sizes = [Image.open(io.BytesIO(data)).size for data in block.rows[0][1]]
    assert sizes == [(8, 8), (4, 4), (4, 4)]


def test_columns_name_the_link_where_there_are_several(analysis, measured):
    block = figures.components(analysis(measured("one"), measured("two")), LEVELS[0])
    assert block.columns == ["image", "teacher one", "student one", "teacher two", "student two"]


def test_less_detail_is_fewer_and_smaller_pictures(analysis):
    block = figures.components(analysis(), Detail(points=9, samples=2, edge=3))
    assert len(block.rows) == 2
    assert {Image.open(io.BytesIO(data)).size for data in block.rows[1][1]} == {(3, 3)}


def test_the_least_detail_has_no_pictures(analysis):
    assert figures.components(analysis(), LEVELS[-1]) is None


def test_long_spectra_are_thinned_to_places_of_their_own(measured):
    chart = figures.energies(measured(student=torch.linspace(2, 1, 99).double()), 5)
    student = next(line for line in chart.series if line.label == "student")
    assert list(student.x) == [1, 25, 50, 75, 99]
    assert student.y[0] == pytest.approx(2 * student.y[-1])


def test_vectors_have_no_pictures(analysis, measured):
    assert figures.components(analysis(measured(pictures={})), LEVELS[0]) is None


@pytest.mark.parametrize(
    ("shape", "size"), [((3, 300, 200), (43, 64)), ((1, 8, 8), (8, 8)), ((5, 64, 128), (64, 32))]
)
def test_sample_images_of_any_kind_are_small_pictures(shape, size):
    images = 10 * torch.randn(2, *shape)  # normalised: not from 0 to 1
    drawn = figures._samples(images, 64)
    assert (drawn.shape[3], drawn.shape[2]) == size
    assert drawn.shape[1] == 3
    if size == (8, 8):
        assert (int(drawn.min()), int(drawn.max())) == (0, 255)


def test_the_scale_of_the_pictures_is_one_of_greys(analysis):
    page = figures.components(analysis(), LEVELS[0]).html()
    (stops,) = re.findall(r"linear-gradient\(90deg,([^)]*)\)", page)
    colors = np.array([list(bytes.fromhex(stop[1:])) for stop in stops.split(",")]).astype(int)
    assert np.ptp(colors, axis=1).max() <= 1
    assert (np.diff(colors[:, 0]) > 0).all()
    assert base64.b64decode(re.search(r"base64,([^\"]*)", page)[1])[:4] == b"\x89PNG"
